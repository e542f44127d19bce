"""Workloads: controllers' templates and running pods, told apart by who owns them.

Pods of one ReplicaSet, Job or DaemonSet are alike, so one of them stands for all: a cluster of
150,000 pods has a few thousand workloads. A pod is looked at besides its template because
admission may have added volumes to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unshim.audit.finding import Subject
from unshim.audit.paths import normalise
from unshim.audit.snapshot import SOURCE_KEY, Snapshot
from unshim.core.objects import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPath:
    """A place of the node that a pod can reach. `path` is normalised, any subPath included."""

    volume: str
    written: str  # as its author wrote it
    path: str
    kind: str = ""  # hostPath.type
    containers: tuple[str, ...] = ()
    read_only: bool = False
    via: str = ""  # the PersistentVolume it comes from


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A pod specification with its owner. `nodes` are those where its pods run."""

    subject: Subject
    chain: tuple[str, ...]
    metadata: Manifest  # of the pod or template
    annotations: Mapping[str, str]  # of the owner, where suppressions may be recorded
    spec: Manifest
    containers: tuple[Manifest, ...]
    host_paths: tuple[HostPath, ...]
    nodes: tuple[str, ...] = ()
    source: str = ""

    @property
    def privileged(self) -> bool:
        return any(
            (container.get("securityContext") or {}).get("privileged")
            for container in self.containers
        )

    @property
    def mighty(self) -> bool:
        """Privileged, or with a capability that lets it into the node's namespaces."""
        added = {
            str(name).removeprefix("CAP_")
            for container in self.containers
            for name in _capabilities(container)
        }
        return self.privileged or bool(added & {"ALL", "SYS_ADMIN"})

    @property
    def images(self) -> tuple[str, ...]:
        return tuple(str(c["image"]) for c in self.containers if c.get("image"))


def _capabilities(container: Manifest) -> Sequence[str]:
    context = container.get("securityContext") or {}
    return (context.get("capabilities") or {}).get("add") or ()


def survey(
    snapshot: Snapshot, owners: Owners, volumes: Mapping[str, Manifest]
) -> tuple[Workload, ...]:
    """Every workload, by subject; templates before the pods made from them."""
    found = [*_templates(snapshot, owners, volumes), *_pods(snapshot, owners, volumes)]
    return tuple(sorted(found, key=lambda workload: (workload.subject, workload.chain)))


class Owners:
    """Looks up owner references among the snapshot's controllers."""

    def __init__(self, controllers: Sequence[Manifest] = ()) -> None:
        self._controllers = {_key(c): c for c in controllers}

    def chain(self, manifest: Manifest) -> tuple[Manifest | None, tuple[tuple[str, str], ...]]:
        """The top owner's manifest (None: unknown) and (kind, name) of each owner upwards."""
        links: list[tuple[str, str]] = []
        namespace = manifest["metadata"].get("namespace", "")
        top: Manifest | None = manifest
        while top is not None and (reference := _controller(top)) is not None and len(links) < 5:
            links.append((str(reference.get("kind")), str(reference.get("name"))))
            kind, name = links[-1]
            below, top = top, self._controllers.get((kind, namespace, name))
            if top is None and (guessed := _deployment(below, kind, name)):
                links.append(("Deployment", guessed))
        return top, tuple(links)


def _deployment(pod: Manifest, kind: str, name: str) -> str:
    """The Deployment of a ReplicaSet that is not in the snapshot: its name without the hash."""
    template_hash = (pod["metadata"].get("labels") or {}).get("pod-template-hash", "")
    suffix = f"-{template_hash}"
    return name.removesuffix(suffix) if kind == "ReplicaSet" and template_hash else ""


def _key(manifest: Manifest) -> tuple[str, str, str]:
    meta = manifest["metadata"]
    return str(manifest.get("kind", "")), meta.get("namespace", ""), str(meta.get("name", ""))


def _controller(manifest: Manifest) -> Mapping[str, Any] | None:
    references = manifest["metadata"].get("ownerReferences") or ()
    return next((r for r in references if r.get("controller")), None)


def _templates(
    snapshot: Snapshot, owners: Owners, volumes: Mapping[str, Manifest]
) -> Iterator[Workload]:
    for controller in snapshot.controllers:
        if _controller(controller) is None or owners.chain(controller)[0] is None:
            template = template_of(controller)
            if template is not None and not _retired(controller):
                yield _workload(controller, template, (), (), volumes)


def _retired(controller: Manifest) -> bool:
    """An old ReplicaSet scaled to nothing will not run again by itself."""
    return controller.get("kind") == "ReplicaSet" and controller["spec"].get("replicas") == 0


def template_of(controller: Manifest) -> Manifest | None:
    """The pod template of a controller, wherever its kind keeps it."""
    if controller.get("kind") == "PodTemplate":
        return controller.get("template")
    spec = controller.get("spec") or {}
    if controller.get("kind") == "CronJob":
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    template = spec.get("template")
    return template if isinstance(template, Mapping) else None


def _pods(
    snapshot: Snapshot, owners: Owners, volumes: Mapping[str, Manifest]
) -> Iterator[Workload]:
    """One workload for all pods of the same owner; a pod without owner is its own."""
    groups: dict[tuple[str, ...], list[Manifest]] = {}
    for pod in snapshot.pods:
        if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            groups.setdefault(_group(pod), []).append(pod)
    for members in groups.values():
        nodes = {str(p["spec"].get("nodeName", "")) for p in members} - {""}
        top, links = owners.chain(members[0])
        yield _workload(top or members[0], members[0], links, tuple(sorted(nodes)), volumes)


def _group(pod: Manifest) -> tuple[str, ...]:
    reference = _controller(pod)
    meta = pod["metadata"]
    if reference is None or reference.get("kind") == "Node":
        return ("Pod", meta.get("namespace", ""), str(meta.get("name")))
    revision = (meta.get("labels") or {}).get("controller-revision-hash", "")
    names = str(reference.get("kind")), meta.get("namespace", ""), str(reference.get("name"))
    return (*names, revision)


def _workload(
    owner: Manifest,
    template: Manifest,
    links: Sequence[tuple[str, str]],
    nodes: tuple[str, ...],
    volumes: Mapping[str, Manifest],
) -> Workload:
    meta, spec = template.get("metadata") or {}, template.get("spec") or {}
    kind, namespace, name = _key(owner) if owner is not template else _pod_key(template)
    links = [link for link in links if link[0] != "Node"]
    if links:
        kind, name = links[-1]
    chain = [f"Pod/{meta['name']}"] if nodes or links else []
    steps = (*chain, *(f"{k}/{n}" for k, n in links)) or (f"{kind}/{name}",)
    containers = _containers(spec)
    return Workload(
        subject=Subject(kind=kind, namespace=namespace, name=name),
        chain=steps,
        metadata=meta,
        annotations=owner["metadata"].get("annotations") or {},
        spec=spec,
        containers=containers,
        host_paths=tuple(_host_paths(spec, namespace, containers, volumes)),
        nodes=nodes,
        source=str(owner.get(SOURCE_KEY, "")),
    )


def _pod_key(pod: Manifest) -> tuple[str, str, str]:
    """Items of a PodList carry no kind."""
    return "Pod", pod["metadata"].get("namespace", ""), str(pod["metadata"].get("name", ""))


def _containers(spec: Manifest) -> tuple[Manifest, ...]:
    return (
        *(spec.get("initContainers") or ()),
        *(spec.get("containers") or ()),
        *(spec.get("ephemeralContainers") or ()),
    )


def claimed(volumes: Sequence[Manifest]) -> Mapping[str, Manifest]:
    """PersistentVolumes by "namespace/claim"."""
    found = {}
    for volume in volumes:
        claim = (volume.get("spec") or {}).get("claimRef") or {}
        found[f"{claim.get('namespace', '')}/{claim.get('name', '')}"] = volume
    return found


def _host_paths(
    spec: Manifest,
    namespace: str,
    containers: Sequence[Manifest],
    volumes: Mapping[str, Manifest],
) -> Iterator[HostPath]:
    for volume in spec.get("volumes") or ():
        written, kind, via = _place(volume, namespace, volumes)
        if written:
            name = str(volume.get("name", ""))
            for sub, users, read_only in _mounts(name, containers):
                yield HostPath(
                    volume=name,
                    written=f"{written.rstrip('/')}/{sub}" if sub else written,
                    path=normalise(f"{written}/{sub}"),
                    kind=kind,
                    containers=users,
                    read_only=read_only,
                    via=via,
                )


def _place(volume: Manifest, namespace: str, volumes: Mapping[str, Manifest]) -> tuple[str, ...]:
    if host_path := volume.get("hostPath"):
        return str(host_path.get("path", "")), str(host_path.get("type") or ""), ""
    if claim := volume.get("persistentVolumeClaim"):
        persistent = volumes.get(f"{namespace}/{claim.get('claimName', '')}")
        if persistent is not None:
            return node_path(persistent), "", str(persistent["metadata"]["name"])
    return "", "", ""


def node_path(volume: Manifest) -> str:
    """The path on the node that a PersistentVolume of type hostPath or local stands for."""
    spec = volume.get("spec") or {}
    return str((spec.get("hostPath") or spec.get("local") or {}).get("path", ""))


def _sub_path(mount: Manifest, container: Manifest) -> str:
    """subPath, or subPathExpr with the container's own variables put in.

    What cannot be known, such as a pod's name, is cut off: the folder above it is within reach.
    """
    path = str(mount.get("subPath") or mount.get("subPathExpr") or "")
    for variable in container.get("env") or () if "$(" in path else ():
        if variable.get("value") is not None:
            path = path.replace(f"$({variable['name']})", str(variable["value"]))
    known, cut, _ = path.partition("$(")
    return known.rpartition("/")[0] if cut else known


def _mounts(volume: str, containers: Sequence[Manifest]) -> list[tuple[str, tuple[str, ...], bool]]:
    """(subPath, containers, read-only) of each way a volume is mounted; once when it is not."""
    ways: dict[str, list[tuple[str, bool]]] = {}
    for container in containers:
        for mount in container.get("volumeMounts") or ():
            if mount.get("name") == volume:
                use = str(container.get("name", "")), bool(mount.get("readOnly"))
                ways.setdefault(_sub_path(mount, container), []).append(use)
    if not ways:
        return [("", (), False)]
    return [
        (sub, tuple(name for name, _ in uses), all(read_only for _, read_only in uses))
        for sub, uses in ways.items()
    ]
