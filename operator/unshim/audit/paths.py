"""Paths on a node, as a hostPath can spell them, and what they mean for Docker."""

from __future__ import annotations

import posixpath

#: A containerd socket beside a Docker one tells that the workload knows both runtimes.
CONTAINERD_SOCKETS = frozenset(
    {
        "/run/containerd/containerd.sock",
        "/run/containerd",
        "/run/crio/crio.sock",
        "/run/k3s/containerd/containerd.sock",
    }
)
DOCKER_SOCKETS = frozenset({"/run/docker.sock"})
CRI_SOCKETS = frozenset({"/run/dockershim.sock", "/run/cri-dockerd.sock"})
#: Folders through which every socket above can be reached.
SOCKET_PARENTS = frozenset({"/", "/var", "/run"})
DOCKER_FILES = (
    "/etc/docker",
    "/var/lib/dockershim",
    "/var/lib/cri-dockerd",
    "/run/docker",
    "/run/docker.pid",
    "/usr/bin/docker",
    "/usr/bin/dockerd",
    "/usr/local/bin/docker",
    "/bin/docker",
    "/etc/default/docker",
    "/etc/sysconfig/docker",
    "/etc/systemd/system/docker.service",
    "/etc/systemd/system/docker.service.d",
    "/lib/systemd/system/docker.service",
    "/usr/lib/systemd/system/docker.service",
    "/var/log/docker",
    "/var/log/docker.log",
)


def normalise(path: str) -> str:
    """One spelling for each place: no `//`, `.`, `..` or trailing slash, `/var/run` as `/run`.

    `/var/run` is a link to `/run` on every systemd distribution, `/proc/1/root` is the node's root.
    """
    clean = posixpath.normpath("/" + path.strip().lstrip("/"))
    if clean == "/proc/1/root" or clean.startswith("/proc/1/root/"):
        clean = clean.removeprefix("/proc/1/root") or "/"
    if clean == "/var/run" or clean.startswith("/var/run/"):
        clean = clean.removeprefix("/var")
    return clean


def inside(path: str, folder: str) -> bool:
    """Whether a normalised path is `folder` or lies under it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")
