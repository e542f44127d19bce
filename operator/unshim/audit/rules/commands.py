"""Pods that call Docker, or are told that the runtime is Docker."""

from __future__ import annotations

import re
from collections.abc import Iterator

from unshim.audit import links, words
from unshim.audit.finding import Severity
from unshim.audit.rule import Hit, Survey, workload_rule
from unshim.audit.workloads import Workload
from unshim.core.objects import Manifest

BLOCKER, WARNING, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO

_ARGUMENT = re.compile(
    r"(?:^|\s)--?(?:(?:providers\.)?docker(?:=(?!false)\S+)?(?=\s|$)|docker-(?:endpoint|socket|host|root|run)\b|"
    r"(?:container-?)?runtime(?:-type|-executor)?[= ]docker\b)"
)
_ASSIGNED = re.compile(r"(?:^|[\s;&|('\"])DOCKER_HOST=(?P<value>[^\s;&|)'\"]+)")
#: Node Problem Detector's files for Docker: a monitor of its log, and a check that restarts it.
_MONITOR = re.compile(r"[\w/.-]*(?:docker-monitor|health-checker-docker)[\w-]*\.json")
_SHIM = re.compile(r"[\w/.:-]*(?:dockershim|cri-dockerd)\.sock")
_RUNTIME_VARIABLES = re.compile(
    r"^(?:ARGO_)?(?:CONTAINER_|CRI_|K8S_)?RUNTIME(?:_TYPE|_NAME|_EXECUTOR)?$"
)
_LOCAL_DAEMON = re.compile(r"^(?:tcp|https?)://(?:localhost|127\.0\.0\.1|\[::1\])[:/]?")
_NODE_ADDRESS = re.compile(r"^(?:tcp|https?)://(?:\$\(|\d+\.\d+\.\d+\.\d+)")


@workload_rule(
    "docker-host",
    WARNING,
    title="A pod is told where a Docker daemon is",
    why="The daemon on the node stops answering after the migration.",
    fix="Use a builder without a daemon, or give the pod a daemon of its own (docker:dind).",
    link=links.AFFECTED,
)
def docker_host(workload: Workload, _: Survey) -> Iterator[Hit]:
    dind = words.own_daemon(workload)
    for container in workload.containers:
        for value in _daemons(container):
            if not (dind and _LOCAL_DAEMON.match(value)):
                shared = dind and value.startswith("unix://")  # a socket in an emptyDir
                yield Hit(
                    message=f"container {container.get('name')} sets DOCKER_HOST={value}",
                    severity=WARNING if _on_the_node(workload, value) and not shared else INFO,
                )


def _daemons(container: Manifest) -> Iterator[str]:
    """Each value of DOCKER_HOST, as a variable or inside a command."""
    yield from (v for name, v in words.environment(container) if name == "DOCKER_HOST")
    yield from (found["value"] for found in _ASSIGNED.finditer(words.command(container)))


def _on_the_node(workload: Workload, value: str) -> bool:
    own = workload.spec.get("hostNetwork") and _LOCAL_DAEMON.match(value)
    return bool(
        own or value.startswith("unix://") or _NODE_ADDRESS.match(value) or value == "$(hostIP)"
    )


@workload_rule(
    "docker-command",
    WARNING,
    title="A pod runs the docker command",
    why="The command has no daemon to speak to on a containerd node.",
    fix="Use kubectl or crictl in its place.",
    link=links.AFFECTED,
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
    link=links.AFFECTED,
)
def docker_argument(workload: Workload, _: Survey) -> Iterator[Hit]:
    for container in workload.containers:
        name = container.get("name")
        if found := _ARGUMENT.search(words.command(container)):
            yield Hit(message=f"container {name} has the argument {found[0].strip()}")
        if monitor := _MONITOR.search(words.command(container)):
            yield Hit(message=f"container {name} watches Docker by {monitor[0]}")
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
    link=links.AFFECTED,
)
def privileged_near_docker(workload: Workload, _: Survey) -> Iterator[Hit]:
    if workload.mighty and workload.spec.get("hostPID") and not words.own_daemon(workload):
        sign = words.speaks_of_docker(workload)
        if sign and not any(words.CLI.search(words.command(c)) for c in workload.containers):
            yield Hit(message=f"has the node's rights and hostPID, and {sign}")


@workload_rule(
    "docker-in-docker",
    INFO,
    title="A pod runs a Docker daemon of its own",
    why="It keeps working: the daemon is inside the pod. Its storage driver and cgroups are nested "
    "in containerd's, so watch it at first.",
    fix="Nothing to do. Try one such pod on the first migrated node.",
    link="https://hub.docker.com/_/docker",
)
def docker_in_docker(workload: Workload, _: Survey) -> Iterator[Hit]:
    for image in sorted({image for image in workload.images if words.is_dind(image)}):
        yield Hit(message=f"runs {image}")
