"""Image names as Docker and containerd read them, and which images a node must hand over.

containerd's image store is empty at first. What pods of the node use and might not be able to pull
moves over from Docker's store; what will be pulled is pulled once beforehand, as a rehearsal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from unshim.core.edits import node_values
from unshim.core.facts import DockerImage, NodeFacts
from unshim.core.objects import CANARY_LABEL, Manifest

_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@\[\]-]*")
_FINISHED = ("Succeeded", "Failed")


def familiar(ref: str) -> tuple[str, str, str]:
    """Split a reference into registry, repository and `:tag` or `@digest`.

    A first part without a dot, a colon or the name `localhost` is no registry but part of a Docker
    Hub name, as in distribution's reference grammar. Without a tag or digest, `:latest` is meant.
    """
    name, _, digest = ref.partition("@")
    head, _, rest = name.partition("/")
    registry_host, path = (head, rest) if names_registry(name) else ("docker.io", name)
    if registry_host == "index.docker.io":
        registry_host = "docker.io"
    path, _, tag = path.partition(":")
    if registry_host == "docker.io" and "/" not in path:
        path = f"library/{path}"
    return registry_host, path, f"@{digest}" if digest else f":{tag or 'latest'}"


def names_registry(ref: str) -> bool:
    """Whether a reference names its registry host."""
    head, slash, _ = ref.partition("/")
    return bool(slash) and ("." in head or ":" in head or head == "localhost")


def normalised(ref: str) -> str:
    """The full name containerd stores: `nginx` is `docker.io/library/nginx:latest`."""
    registry_host, path, suffix = familiar(ref)
    return f"{registry_host}/{path}{suffix}"


def registry(ref: str) -> str:
    """The registry host of a reference."""
    return familiar(ref)[0]


def handover(facts: NodeFacts, pods: Sequence[Manifest]) -> tuple[str, ...]:
    """`repo:tag` names, as Docker has them, to move from its store to containerd's.

    Those are the pause image, images that pods here use with a policy other than Always, and every
    image without a registry digest: it was built or loaded here, and whichever pod comes for it
    later could get it nowhere else. An image known by digest only has no name that an import could
    give it, so it is rehearsed instead.
    """
    by_name = _by_name(facts)
    wanted = [node_values.pause_image(facts)]
    wanted += [ref for ref, policy in _used(pods) if policy != "Always"]
    for image in facts.docker.images if facts.docker else ():
        wanted += image.repo_tags if not image.repo_digests else ()
    tags = (_tag(by_name, ref) for ref in wanted)
    return tuple(dict.fromkeys(tag for tag in tags if tag))


def rehearse(facts: NodeFacts, pods: Sequence[Manifest]) -> tuple[str, ...]:
    """References to pull through containerd before the switch, as a proof that pulling works.

    Images used with policy Always, by digest, or not to be handed over. A name that is not safe in
    a script is left out; no registry would serve it.
    """
    moved = {normalised(ref) for ref in handover(facts, pods)}
    by_name = _by_name(facts)
    found = [
        normalised(ref)
        for ref, policy in _used(filter(_stays, pods))
        if policy != "Never" and _REFERENCE.fullmatch(ref)
        if policy == "Always" or "@" in ref or normalised(ref) not in moved
    ]
    local = {name for name, image in by_name.items() if not image.repo_digests}
    return tuple(dict.fromkeys(name for name in found if name not in local))


def canary_policy(image: str) -> str:
    """The canary pulls anew where that shows something: from a registry that its image names."""
    return "Always" if names_registry(image) else "IfNotPresent"


def canary_pod(image: str) -> Manifest:
    """The canary as a pod of the node: its image is handed over or rehearsed like any other's."""
    container = {"name": "canary", "image": image, "imagePullPolicy": canary_policy(image)}
    return {"metadata": {}, "spec": {"containers": [container]}}


def handover_sizes(facts: NodeFacts, pods: Sequence[Manifest]) -> tuple[tuple[str, int], ...]:
    """Each image to hand over, with its size in bytes."""
    by_name = _by_name(facts)
    return tuple((ref, by_name[normalised(ref)].size_bytes) for ref in handover(facts, pods))


def handover_bytes(facts: NodeFacts, pods: Sequence[Manifest]) -> int:
    """The sum of the sizes of the images to hand over, shared layers counted once per image."""
    by_name = _by_name(facts)
    images = {by_name[normalised(ref)] for ref in handover(facts, pods)}
    return sum(image.size_bytes for image in images)


def held(facts: NodeFacts) -> frozenset[str]:
    """The full names of the images in Docker's store, by tag and by digest."""
    return frozenset(_by_name(facts))


def disk_need_bytes(facts: NodeFacts, pods: Sequence[Manifest]) -> int:
    """Room that containerd's root needs: content and snapshot, so twice the images' size."""
    return 2 * handover_bytes(facts, pods)


def _by_name(facts: NodeFacts) -> dict[str, DockerImage]:
    found: dict[str, DockerImage] = {}
    for image in facts.docker.images if facts.docker else ():
        for ref in (*image.repo_tags, *image.repo_digests):
            if "<none>" not in ref:
                found[normalised(ref)] = image
    return found


def _tag(by_name: Mapping[str, DockerImage], ref: str) -> str:
    """Docker's own spelling of the tag that `ref` means, or empty when it has none."""
    image = by_name.get(normalised(ref))
    tags = image.repo_tags if image else ()
    matching = (tag for tag in tags if normalised(tag) == normalised(ref))
    return next((tag for tag in matching if _REFERENCE.fullmatch(tag)), "")


def _used(pods: Iterable[Manifest]) -> Iterator[tuple[str, str]]:
    """Every image of the pods that run or will run, with its pull policy."""
    for pod in pods:
        if pod.get("status", {}).get("phase") in _FINISHED:
            continue
        spec: Mapping[str, Any] = pod.get("spec", {})
        for kind in ("initContainers", "containers", "ephemeralContainers"):
            for container in spec.get(kind) or ():
                ref = str(container.get("image", ""))
                if ref:
                    yield ref, _policy(ref, container)


def _stays(pod: Manifest) -> bool:
    """A pod that is going pulls no more, and a canary of an earlier run is on its way out."""
    metadata = pod.get("metadata", {})
    ours = CANARY_LABEL in (metadata.get("labels") or {})
    return not ours and "deletionTimestamp" not in metadata


def _policy(ref: str, container: Mapping[str, Any]) -> str:
    """The pull policy; the API server's default where it is absent."""
    default = "Always" if familiar(ref)[2] == ":latest" else "IfNotPresent"
    return str(container.get("imagePullPolicy") or default)
