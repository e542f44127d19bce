"""How a container's command line, environment and image speak of Docker."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from unshim.audit.workloads import Workload
from unshim.core import images
from unshim.core.objects import Manifest

_SUBCOMMANDS = (
    "attach|build|commit|compose|container|cp|create|events|exec|export|image|images|import|info|"
    "inspect|kill|load|login|logs|network|pause|port|ps|pull|push|restart|rm|rmi|run|save|start|"
    "stats|stop|system|tag|top|unpause|update|version|volume|wait"
)
#: `docker ps`, `/usr/bin/docker exec`, `docker -H tcp://… ps`; not `docker.io` or `--docker-x`.
CLI = re.compile(
    r"(?:^|[\s;&|(`'\"=])(?:/(?:usr/)?(?:local/)?bin/|/host\S*/)?docker"
    rf"(?:\s+-{{1,2}}[\w-]+(?:[= ]\S+)?)*\s+(?:{_SUBCOMMANDS})(?=$|[\s;&|)`'\"])"
)
_IMAGE_NAME = re.compile(r"(?:^|[-_.])(?:docker|dind|dockerd)(?:$|[-_.])")
_DIND = re.compile(r"(?:^|[-_])dind(?:$|[-_])")


def command(container: Manifest) -> str:
    """Everything the container would execute: command, arguments, probes and hooks."""
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    for hook in _hooks(container):
        words += (hook.get("exec") or {}).get("command") or ()
    return " ".join(str(word) for word in words)


def _hooks(container: Manifest) -> list[Mapping[str, Any]]:
    lifecycle = container.get("lifecycle") or {}
    probes = [container.get(f"{kind}Probe") for kind in ("liveness", "readiness", "startup")]
    found = [*probes, lifecycle.get("postStart"), lifecycle.get("preStop")]
    return [hook for hook in found if hook]


def environment(container: Manifest) -> Iterator[tuple[str, str]]:
    """(name, value) of each variable; `$(hostIP)` stands for a reference to the node's address."""
    for variable in container.get("env") or ():
        source = (variable.get("valueFrom") or {}).get("fieldRef") or {}
        host = "$(hostIP)" if source.get("fieldPath") == "status.hostIP" else ""
        yield str(variable.get("name", "")), str(variable.get("value") or host)


def values(container: Manifest) -> str:
    """Command line and environment values in one text."""
    return "\n".join([command(container), *(value for _, value in environment(container))])


def repository(image: str) -> tuple[str, str]:
    """The repository path without registry, and the tag (empty for a digest)."""
    _, path, suffix = images.familiar(image)
    return path, suffix[1:] if suffix.startswith(":") else ""


def is_dind(image: str) -> bool:
    """A Docker daemon of its own inside the pod, such as docker:20-dind."""
    path, tag = repository(image)
    name = path.rpartition("/")[2]
    return bool(_DIND.search(name) or (name == "docker" and _DIND.search(tag)))


def own_daemon(workload: Workload) -> bool:
    """The pod brings its own Docker daemon and uses no socket of the node."""
    return any(is_dind(image) for image in workload.images)


def speaks_of_docker(workload: Workload) -> str:
    """The first sign that a workload means to use Docker; empty when there is none."""
    for container in workload.containers:
        name = repository(str(container.get("image", "")))[0].rpartition("/")[2]
        if _IMAGE_NAME.search(name):
            return f"image {container.get('image')}"
        if "docker.sock" in values(container):
            return f"container {container.get('name')} names docker.sock"
        if any(key == "DOCKER_HOST" for key, _ in environment(container)):
            return f"container {container.get('name')} sets DOCKER_HOST"
        if found := CLI.search(command(container)):
            return f"container {container.get('name')} runs `{found[0].strip()}`"
    return ""
