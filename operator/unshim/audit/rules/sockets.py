"""Pods and volumes that reach a socket of Docker or of its CRI shims."""

from __future__ import annotations

from collections.abc import Iterator

from unshim.audit import links, paths, words
from unshim.audit.finding import Severity, Subject
from unshim.audit.rule import Hit, Survey, survey_rule, workload_rule
from unshim.audit.workloads import HostPath, Workload, node_path

BLOCKER, WARNING, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO


def _described(place: HostPath) -> str:
    """The path as its author wrote it, and the way it is reached."""
    users = f" in {', '.join(place.containers)}" if place.containers else ""
    via = f" through PersistentVolume {place.via}" if place.via else ""
    return f"{place.written}{via} (volume {place.volume}{users})"


def _knows_containerd(workload: Workload) -> bool:
    return any(place.path in paths.CONTAINERD_SOCKETS for place in workload.host_paths)


@workload_rule(
    "docker-socket",
    BLOCKER,
    title="A pod uses Docker's socket",
    why="On a containerd node nobody answers there. With hostPath type Socket the pod does not "
    "start. Without a type, a folder is created in the socket's place, and Docker could not start "
    "again. Whatever the pod does with Docker stops.",
    fix="Use the Kubernetes API, containerd's socket (CRI), or a builder without a daemon "
    "(BuildKit, Kaniko, Buildah). Agents: see the version in docs/detectors.md.",
    link=links.AGENTS,
)
def docker_socket(workload: Workload, survey: Survey) -> Iterator[Hit]:
    for place in workload.host_paths:
        if place.path in survey.docker_sockets:
            both = _knows_containerd(workload)
            more = "; it mounts containerd's socket too and may work with either" if both else ""
            yield Hit(
                message=f"mounts {_described(place)}{more}", severity=WARNING if both else BLOCKER
            )


@workload_rule(
    "cri-socket",
    BLOCKER,
    title="A pod uses the socket of dockershim or cri-dockerd",
    why="The socket disappears with the runtime. AWS VPC CNI before 1.12 crash-loops because of "
    "it, and the node has no network then.",
    fix="Upgrade the workload, or mount /run/containerd/containerd.sock in its place.",
    link=links.AGENTS,
)
def cri_socket(workload: Workload, _: Survey) -> Iterator[Hit]:
    for place in workload.host_paths:
        if place.path in paths.CRI_SOCKETS:
            both = _knows_containerd(workload)
            yield Hit(message=f"mounts {_described(place)}", severity=WARNING if both else BLOCKER)


@workload_rule(
    "socket-folder",
    WARNING,
    title="A pod can reach Docker's socket through a folder",
    why="The folder holds Docker's socket. Most workloads that mount it want something else, and "
    "some want the socket.",
    fix="Find out whether it speaks to Docker. Mount only what it needs.",
    link=links.AGENTS,
)
def socket_folder(workload: Workload, survey: Survey) -> Iterator[Hit]:
    for place in workload.host_paths:
        if place.path in paths.SOCKET_PARENTS | _parents(survey):
            sign = "" if words.own_daemon(workload) else words.speaks_of_docker(workload)
            yield Hit(
                message=f"mounts {_described(place)}" + (f" and {sign}" if sign else ""),
                severity=_reach(workload, place, sign),
            )


def _parents(survey: Survey) -> frozenset[str]:
    return frozenset(socket.rpartition("/")[0] or "/" for socket in survey.docker_sockets)


def _reach(workload: Workload, place: HostPath, sign: str) -> Severity:
    if sign and not _knows_containerd(workload):
        return BLOCKER
    quiet = place.read_only and not workload.privileged and place.path == "/"
    return INFO if quiet else WARNING


@survey_rule(
    "volume-at-docker",
    WARNING,
    title="A PersistentVolume stands for a place of Docker's",
    why="A claim reaches Docker's socket or data through it, unseen in the pod's own text.",
    fix="Remove the volume when its users have moved away from Docker.",
    link=f"{links.K8S}concepts/storage/volumes/#hostpath",
)
def volume_at_docker(survey: Survey) -> Iterator[Hit]:
    for volume in survey.snapshot.volumes:
        path = node_path(volume)
        claim = (volume.get("spec") or {}).get("claimRef") or {}
        sockets = survey.docker_sockets | paths.CRI_SOCKETS
        if path and _of_docker(paths.normalise(path), sockets, survey.docker_roots):
            owner = f"{claim.get('namespace')}/{claim.get('name')}" if claim else "nobody"
            yield Hit(
                message=f"{path}, claimed by {owner}",
                subject=Subject(kind="PersistentVolume", name=str(volume["metadata"]["name"])),
                severity=WARNING if claim else INFO,
            )


def _of_docker(path: str, sockets: frozenset[str], roots: frozenset[str]) -> bool:
    return (
        path in sockets
        or path in paths.SOCKET_PARENTS
        or any(paths.inside(path, folder) for folder in (*roots, *paths.DOCKER_FILES))
    )
