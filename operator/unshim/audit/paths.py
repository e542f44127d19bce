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
    "/usr/bin/docker",
    "/usr/local/bin/docker",
    "/etc/systemd/system/docker.service.d",
)


def normalise(path: str) -> str:
    """One spelling for each place: no `//`, `.`, `..` or trailing slash, `/var/run` as `/run`.

    `/var/run` is a link to `/run` on every systemd distribution.
    """
    clean = posixpath.normpath("/" + path.strip().lstrip("/"))
    if clean == "/var/run" or clean.startswith("/var/run/"):
        clean = clean.removeprefix("/var")
    return clean


def inside(path: str, folder: str) -> bool:
    """Whether a normalised path is `folder` or lies under it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")
