"""Images: what must move over, whether there is room, and what could not be had again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from unshim.audit import links
from unshim.audit.finding import Severity, Subject
from unshim.audit.rule import Hit, NodeView, Survey, node_rule
from unshim.audit.rules.runtime import version
from unshim.core import images
from unshim.core.edits import docker_settings
from unshim.core.eviction import Verdict
from unshim.core.facts import Disk, NodeFacts
from unshim.core.objects import Manifest
from unshim.errors import UnsupportedNode

BLOCKER, WARNING, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO

#: Room that must stay free beside the images, so that the kubelet does not evict at once (bytes).
MARGIN_BYTES = 1 << 30
#: Room for the run's own files: journal, backups, sockets (bytes).
RUN_BYTES = 32 << 20
_SCHEMA_1 = re.compile(r"manifest\.v1\+(?:prettyjws|json)|schema ?v?1\b|mediaType v1", re.I)
#: File systems that overlayfs cannot write to; zfs only since OpenZFS 2.2.
_NOT_BELOW = frozenset({"nfs", "nfs4", "cifs", "overlay", "aufs", "fuse", "ecryptfs", "vfat"})


@node_rule(
    "disk-space",
    BLOCKER,
    title="There is no room for the images",
    why="Images are copied from Docker's store to containerd's before the switch, and Docker's "
    "stay for the rollback. Content and snapshot together take about twice an image's size.",
    fix="Free space with `docker image prune`, or put containerd's root on a larger disk.",
    link=f"{links.K8S}concepts/scheduling-eviction/node-pressure-eviction/",
)
def disk_space(node: NodeView, _: Survey) -> Iterator[Hit]:
    facts = node.facts
    disk = _disk(facts) if facts else None
    if facts is None or disk is None or facts.docker is None:
        return
    try:
        need = images.disk_need_bytes(facts, node.pods)
    except UnsupportedNode:
        return  # the pause image is unknown; the edit says so
    yield from _cramped(node.name, facts)
    free = disk.free_bytes
    told = f"{node.name}: {_gib(need)} to copy, {_gib(free)} free on {disk.path}"
    if need > free:
        yield Hit(message=told)
    elif need + MARGIN_BYTES > free or free - need < disk.total_bytes // 10:
        yield Hit(message=f"{told}; little would be left", severity=WARNING)


def _cramped(node: str, facts: NodeFacts) -> Iterator[Hit]:
    """Where the run keeps its journal and what it replaces: little is needed, and it is needed."""
    for disk in facts.disks:
        if disk.path in ("/etc", "/run", "/var/lib/unshim") and disk.free_bytes < RUN_BYTES:
            told = f"{disk.free_bytes >> 20} MiB free on {disk.path}, {RUN_BYTES >> 20} are needed"
            yield Hit(message=f"{node}: {told}")


def _disk(facts: NodeFacts) -> Disk | None:
    root = facts.containerd.root if facts.containerd else "/var/lib/containerd"
    return next((disk for disk in facts.disks if disk.path == root), None)


def _gib(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB"


@node_rule(
    "containerd-file-system",
    BLOCKER,
    title="overlayfs does not work on containerd's file system",
    why="containerd keeps containers in overlayfs, which needs a file system that tells the type "
    "of directory entries. XFS made with ftype=0, as early CentOS 7 did by default, does not, nor "
    "do network file systems. Containers would not start, or see deleted files again.",
    fix="Put containerd's root on ext4, or on an XFS made with `mkfs.xfs -n ftype=1`.",
    link=f"{links.DOCKER}engine/storage/drivers/overlayfs-driver/",
)
def containerd_file_system(node: NodeView, _: Survey) -> Iterator[Hit]:
    disk = _disk(node.facts) if node.facts else None
    if node.facts is None or disk is None or _snapshotter(node.facts) != "overlayfs":
        return
    if not disk.d_type:
        yield Hit(message=f"{disk.path} on {node.name} is {disk.fstype} with ftype=0")
    elif disk.fstype in _NOT_BELOW or disk.fstype.startswith("fuse."):
        yield Hit(message=f"{disk.path} on {node.name} is {disk.fstype}")
    elif disk.fstype == "zfs":
        yield Hit(
            message=f"{disk.path} on {node.name} is zfs, which bears overlayfs since OpenZFS 2.2",
            severity=WARNING,
        )


def _snapshotter(facts: NodeFacts) -> str:
    try:
        return docker_settings.translate(facts).snapshotter
    except UnsupportedNode:
        return ""  # the rule docker-setting says so


@node_rule(
    "image-hand-over",
    INFO,
    title="Images move from Docker's store to containerd's",
    why="containerd does not see Docker's images.",
    fix="Nothing to do: they are copied while the node still serves.",
    link=links.IMAGES,
)
def image_hand_over(node: NodeView, _: Survey) -> Iterator[Hit]:
    if node.facts is None or node.facts.docker is None:
        return
    try:
        moved = images.handover(node.facts, node.pods)
        size = images.handover_bytes(node.facts, node.pods)
    except UnsupportedNode:
        return
    if moved:
        yield Hit(message=f"{len(moved)} images, {_gib(size)}, on {node.name}")


@node_rule(
    "image-not-available",
    BLOCKER,
    title="An image can neither be copied nor pulled",
    why="An image known by its digest or ID only has no name that the copy could keep, and with "
    "imagePullPolicy Never it is never pulled: the pod would not start.",
    fix="Give the image a tag and use that, or push it to a registry and allow pulling.",
    link=links.IMAGES,
)
def image_not_available(node: NodeView, _: Survey) -> Iterator[Hit]:
    for pod in node.pods:
        if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            continue
        for container in _containers(pod):
            ref = str(container.get("image", ""))
            never = container.get("imagePullPolicy") == "Never"
            if ref.startswith("sha256:") or (never and "@sha256:" in ref):
                yield Hit(message=f"{ref} in container {container.get('name')}", subject=_pod(pod))


def _containers(pod: Manifest) -> list[Manifest]:
    spec = pod.get("spec") or {}
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]


def _pod(pod: Manifest) -> Subject:
    meta = pod["metadata"]
    return Subject(kind="Pod", namespace=meta.get("namespace", ""), name=str(meta["name"]))


@node_rule(
    "image-local-only",
    WARNING,
    title="An image did not come from a registry",
    why="It was built or loaded here and never pulled. It is copied to containerd, but a pod that "
    "moves to another node would not find it there.",
    fix="Push it to a registry.",
    link=links.IMAGES,
)
def image_local_only(node: NodeView, _: Survey) -> Iterator[Hit]:
    docker = node.facts.docker if node.facts else None
    if docker is None:
        return
    local = {
        images.normalised(tag)
        for image in docker.images
        if not image.repo_digests
        for tag in image.repo_tags
    }
    moving = [j.pod for j in node.judged if j.verdict is not Verdict.KEEP]
    for name in sorted(local & _used(node.pods)):
        yield Hit(
            message="was built or loaded on the node, not pulled",
            severity=WARNING if name in _used(moving) else INFO,
            subject=Subject(kind="Image", name=name),
        )


def _used(pods: Iterable[Manifest]) -> set[str]:
    return {
        images.normalised(str(container["image"]))
        for pod in pods
        for container in _containers(pod)
        if container.get("image") and not str(container["image"]).startswith("sha256:")
    }


@node_rule(
    "image-pull-fails",
    BLOCKER,
    title="containerd cannot pull an image that the node uses",
    why="The registry was asked the way containerd will ask it, with the settings it is going to "
    "get, and the image was not to be had. A run pulls it before the cordon, and would end there.",
    fix="Read the message: certificates, mirrors or proxy are missing, or the image is gone. A "
    "schema 1 image has to be pushed again with a current tool: containerd 2.1 refuses it.",
    link=f"{links.CONTAINERD}docs/hosts.md",
)
def image_pull_fails(node: NodeView, survey: Survey) -> Iterator[Hit]:
    for image, said in sorted(survey.snapshot.pull_failures.get(node.name, {}).items()):
        yield Hit(
            message=f"{image} on {node.name}: {said[:300]}",
            severity=WARNING if _bearable(node, image, said) else BLOCKER,
        )


def _bearable(node: NodeView, image: str, said: str) -> bool:
    """A containerd before 2.1 still reads schema 1; what Docker lacks, no pod here runs today."""
    facts = node.facts
    if _SCHEMA_1.search(said):
        containerd = facts.containerd if facts else None
        return containerd is not None and version(containerd.version) < (2, 1)
    return facts is not None and image not in images.held(facts) and image in _used(node.pods)
