"""Pods that read Docker's data, logs, configuration or programs on the node."""

from __future__ import annotations

from collections.abc import Iterator

from unshim.audit import links, paths
from unshim.audit.finding import Severity
from unshim.audit.rule import Hit, Survey, workload_rule
from unshim.audit.workloads import Workload

BLOCKER, WARNING, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO


@workload_rule(
    "docker-data",
    WARNING,
    title="A pod reads Docker's data folder",
    why="New containers no longer appear there. Container logs are plain files under /var/log/pods "
    "then, no longer links into /var/lib/docker/containers, and their format changes.",
    fix="Log agents: read /var/log/pods or /var/log/containers with a parser for the CRI format. "
    "Others: use the CRI or the kubelet's API.",
    link=links.LOGGING,
)
def docker_data(workload: Workload, survey: Survey) -> Iterator[Hit]:
    for place in workload.host_paths:
        if any(paths.inside(place.path, root) for root in survey.docker_roots):
            logs = place.path.endswith("/containers")
            kind = "container logs" if logs else "data"
            yield Hit(message=f"reads Docker's {kind} at {place.written}")
        elif place.path in survey.data_parents:
            yield Hit(message=f"mounts {place.written}, which holds Docker's data", severity=INFO)


@workload_rule(
    "docker-files",
    WARNING,
    title="A pod uses Docker's configuration or programs",
    why="They no longer decide anything on a containerd node, and go away with Docker.",
    fix="Registries: /etc/containerd/certs.d. The docker command: crictl or the Kubernetes API.",
    link=links.AFFECTED,
)
def docker_files(workload: Workload, _: Survey) -> Iterator[Hit]:
    for place in workload.host_paths:
        if any(paths.inside(place.path, folder) for folder in paths.DOCKER_FILES):
            yield Hit(message=f"mounts {place.written}")
