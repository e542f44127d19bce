"""Pods that call Docker, or are told that the runtime is Docker."""

from __future__ import annotations

import re
from collections.abc import Iterator

from unshim.audit import words
from unshim.audit.finding import Severity
from unshim.audit.rule import Hit, Survey, workload_rule
from unshim.audit.workloads import Workload

BLOCKER, WARNING, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO

_ARGUMENT = re.compile(
    r"(?:^|\s)--?(?:docker(?:=(?!false)\S+)?(?=\s|$)|docker-(?:endpoint|socket|host|root|run)\b|"
    r"(?:container-?)?runtime(?:-type)?[= ]docker\b)"
)
_SHIM = re.compile(r"[\w/.:-]*(?:dockershim|cri-dockerd)\.sock")
_RUNTIME_VARIABLES = re.compile(r"^(?:CONTAINER_|CRI_|K8S_)?RUNTIME(?:_TYPE|_NAME)?$")
_LOCAL_DAEMON = re.compile(r"^(?:tcp|https?)://(?:localhost|127\.0\.0\.1|\[::1\])[:/]?")
_NODE_ADDRESS = re.compile(r"^(?:tcp|https?)://(?:\$\(|\d+\.\d+\.\d+\.\d+)")


@workload_rule(
    "docker-host",
    WARNING,
    title="A pod is told where a Docker daemon is",
    why="The daemon on the node stops answering after the migration.",
    fix="Use a builder without a daemon, or give the pod a daemon of its own (docker:dind).",
)
def docker_host(workload: Workload, _: Survey) -> Iterator[Hit]:
    dind = words.own_daemon(workload)
    for container in workload.containers:
        for name, value in words.environment(container):
            if name == "DOCKER_HOST" and not (dind and _LOCAL_DAEMON.match(value)):
                node = value.startswith("unix://") or _NODE_ADDRESS.match(value)
                shared = dind and value.startswith("unix://")  # a socket in an emptyDir
                yield Hit(
                    message=f"container {container.get('name')} sets DOCKER_HOST={value}",
                    severity=WARNING if (node or value == "$(hostIP)") and not shared else INFO,
                )


@workload_rule(
    "docker-command",
    WARNING,
    title="A pod runs the docker command",
    why="The command has no daemon to speak to on a containerd node.",
    fix="Use kubectl or crictl in its place.",
)
def docker_command(workload: Workload, _: Survey) -> Iterator[Hit]:
    if words.own_daemon(workload):
        return
    for container in workload.containers:
        text = words.command(container)
        if found := words.CLI.search(text):
            how = " through nsenter on the node" if "nsenter" in text else ""
            yield Hit(message=f"container {container.get('name')} runs `{found[0].strip()}`{how}")


@workload_rule(
    "docker-argument",
    WARNING,
    title="A pod is told that the runtime is Docker",
    why="It would look for Docker's sockets and names and find nothing, or fail.",
    fix="Set the option to containerd, or let the workload detect the runtime.",
)
def docker_argument(workload: Workload, _: Survey) -> Iterator[Hit]:
    for container in workload.containers:
        name = container.get("name")
        if found := _ARGUMENT.search(words.command(container)):
            yield Hit(message=f"container {name} has the argument {found[0].strip()}")
        for variable, value in words.environment(container):
            if _RUNTIME_VARIABLES.match(variable) and value.lower() in ("docker", "dockershim"):
                yield Hit(message=f"container {name} sets {variable}={value}")
        if shim := _SHIM.search(words.values(container)):
            yield Hit(message=f"container {name} names {shim[0]}")


@workload_rule(
    "privileged-near-docker",
    WARNING,
    title="A pod with the node's rights speaks of Docker",
    why="A privileged pod in the node's process namespace can reach Docker without any mount, "
    "through /proc/1/root or nsenter, and this one names Docker.",
    fix="Find out whether it uses Docker on the node, and what takes its place.",
)
def privileged_near_docker(workload: Workload, _: Survey) -> Iterator[Hit]:
    if workload.privileged and workload.spec.get("hostPID") and not words.own_daemon(workload):
        sign = words.speaks_of_docker(workload)
        if sign and not any(words.CLI.search(words.command(c)) for c in workload.containers):
            yield Hit(message=f"is privileged with hostPID, and {sign}")


@workload_rule(
    "docker-in-docker",
    INFO,
    title="A pod runs a Docker daemon of its own",
    why="It keeps working: the daemon is inside the pod. Its storage driver and cgroups are nested "
    "in containerd's, so watch it at first.",
    fix="Nothing to do. Try one such pod on the first migrated node.",
)
def docker_in_docker(workload: Workload, _: Survey) -> Iterator[Hit]:
    for image in sorted({image for image in workload.images if words.is_dind(image)}):
        yield Hit(message=f"runs {image}")
