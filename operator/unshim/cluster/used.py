"""What the pods of a node use besides themselves: only the objects they name are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from unshim.audit.intake import PATHS
from unshim.cluster.api import Api, expect, segment
from unshim.core import eviction
from unshim.core.objects import Manifest

#: The controllers that an audit lists, and that may own a pod.
CONTROLLERS = frozenset(
    {
        *("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController"),
        *("Job", "CronJob"),
    }
)

RUNTIME_CLASSES = (
    "/apis/node.k8s.io/v1/runtimeclasses",  # since Kubernetes 1.20
    "/apis/node.k8s.io/v1beta1/runtimeclasses",  # until 1.24
)


def volumes(api: Api, pods: Sequence[Manifest]) -> tuple[Manifest, ...]:
    """The PersistentVolumes that the pods' claims are bound to."""
    names = sorted({name for claim in _claims(pods) if (name := _bound(api, *claim))})
    paths = (f"/api/v1/persistentvolumes/{segment(name)}" for name in names)
    return tuple(found for path in paths if (found := read(api, path)))


def runtime_classes(api: Api, pods: Sequence[Manifest]) -> tuple[Manifest, ...]:
    """The RuntimeClasses that the pods name."""
    names = sorted({str(name) for pod in pods if (name := pod["spec"].get("runtimeClassName"))})
    places = ([f"{folder}/{segment(name)}" for folder in RUNTIME_CLASSES] for name in names)
    found = (next(filter(None, (read(api, path) for path in paths)), None) for paths in places)
    return tuple(one for one in found if one)


def owners(api: Api, pods: Sequence[Manifest]) -> tuple[Manifest, ...]:
    """The controllers above these pods, up to the topmost of Kubernetes' own; each is read once."""
    found: dict[tuple[str, str, str], Manifest | None] = {}
    for pod in pods:
        below: Manifest | None = pod
        while below and (owner := eviction.owner(below)) and owner.kind in CONTROLLERS:
            key = owner.kind, str(pod["metadata"].get("namespace", "")), owner.name
            if key not in found:
                found[key] = _controller(api, *key)
            below = found[key]
    return tuple(one for one in found.values() if one)


def _controller(api: Api, kind: str, namespace: str, name: str) -> Manifest | None:
    for path in PATHS[kind]:
        folder, _, plural = path.rpartition("/")
        if one := read(api, f"{folder}/namespaces/{segment(namespace)}/{plural}/{segment(name)}"):
            return one
    return None


def _claims(pods: Sequence[Manifest]) -> Iterator[tuple[str, str]]:
    """(namespace, name) of each claim, once."""
    found = {
        (str(pod["metadata"].get("namespace", "")), str(claim.get("claimName", "")))
        for pod in pods
        for volume in pod["spec"].get("volumes") or ()
        if (claim := volume.get("persistentVolumeClaim"))
    }
    yield from sorted(found)


def _bound(api: Api, namespace: str, claim: str) -> str:
    folder = f"/api/v1/namespaces/{segment(namespace)}/persistentvolumeclaims"
    found = read(api, f"{folder}/{segment(claim)}") or {}
    return str((found.get("spec") or {}).get("volumeName") or "")


def read(api: Api, path: str) -> Manifest | None:
    """One object; None when it has gone, or this server has no such kind."""
    reply = api.get(path)
    return None if reply.status == 404 else expect(reply, f"read {path}").body
