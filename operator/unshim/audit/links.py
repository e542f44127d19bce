"""Where the rules' documentation links begin: public pages that are kept in place."""

from __future__ import annotations

K8S = "https://kubernetes.io/docs/"
DOCKERSHIM = f"{K8S}tasks/administer-cluster/migrating-from-dockershim/"
AFFECTED = f"{DOCKERSHIM}check-if-dockershim-removal-affects-you/"
AGENTS = f"{DOCKERSHIM}migrating-telemetry-and-security-agents/"
CHANGE_RUNTIME = f"{DOCKERSHIM}change-runtime-containerd/"
DRAIN = f"{K8S}tasks/administer-cluster/safely-drain-node/"
IMAGES = f"{K8S}concepts/containers/images/"
LOGGING = f"{K8S}concepts/cluster-administration/logging/"
RUNTIMES = f"{K8S}setup/production-environment/container-runtimes/"
CONTAINERD = "https://github.com/containerd/containerd/blob/main/"
DOCKER = "https://docs.docker.com/"
SYSTEMD_UNIT = "https://www.freedesktop.org/software/systemd/man/latest/systemd.unit.html"
