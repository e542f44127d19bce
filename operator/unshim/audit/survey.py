"""A snapshot prepared for the rules: target nodes with their pods and facts, and the workloads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from unshim.audit import workloads
from unshim.audit.paths import DOCKER_SOCKETS, normalise
from unshim.audit.snapshot import Snapshot
from unshim.audit.workloads import Workload
from unshim.core import flags
from unshim.core.facts import NodeFacts
from unshim.core.objects import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """One target node. `manifest` is None when the cluster has no such node."""

    name: str
    manifest: Manifest | None
    facts: NodeFacts | None
    pods: tuple[Manifest, ...] = ()

    @property
    def labels(self) -> Mapping[str, str]:
        return self._metadata("labels")

    @property
    def annotations(self) -> Mapping[str, str]:
        return self._metadata("annotations")

    def _metadata(self, key: str) -> Mapping[str, str]:
        return ((self.manifest or {}).get("metadata") or {}).get(key) or {}

    @property
    def spec(self) -> Manifest:
        return (self.manifest or {}).get("spec") or {}

    @property
    def status(self) -> Manifest:
        return (self.manifest or {}).get("status") or {}

    @property
    def info(self) -> Mapping[str, str]:
        return self.status.get("nodeInfo") or {}

    @property
    def runtime(self) -> str:
        """`docker://20.10.24`."""
        return str(self.info.get("containerRuntimeVersion", ""))

    @property
    def on_docker(self) -> bool:
        return self.runtime.startswith("docker://")

    @property
    def ready(self) -> bool:
        return condition(self.manifest, "Ready").get("status") == "True"

    @property
    def control_plane(self) -> bool:
        return is_control_plane(self.manifest)

    @property
    def kubelet_version(self) -> str:
        """`1.20.2`, without the v."""
        own = self.facts.kubelet.version if self.facts and self.facts.kubelet else ""
        return (own or str(self.info.get("kubeletVersion", ""))).lstrip("v")

    @property
    def kubelet_minor(self) -> tuple[int, int]:
        """(0, 0) when the version is unknown."""
        try:
            return flags.minor(self.kubelet_version)
        except ValueError:
            return 0, 0

    @property
    def kubelet_flags(self) -> Mapping[str, str]:
        kubelet = self.facts.kubelet if self.facts else None
        return flags.effective(kubelet.argv) if kubelet else {}

    @property
    def dockershim(self) -> bool:
        """The kubelet itself speaks to Docker, as far as is known."""
        remote = self.kubelet_flags.get("container-runtime") == "remote"
        return self.kubelet_minor < (1, 24) and not remote


def condition(node: Manifest | None, kind: str) -> Mapping[str, str]:
    conditions = ((node or {}).get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c.get("type") == kind), {})


def is_control_plane(node: Manifest | None) -> bool:
    labels = ((node or {}).get("metadata") or {}).get("labels") or {}
    roles = ("control-plane", "master")
    return any(f"node-role.kubernetes.io/{role}" in labels for role in roles)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What every rule sees."""

    snapshot: Snapshot
    nodes: tuple[NodeView, ...]
    workloads: tuple[Workload, ...]
    docker_sockets: frozenset[str]

    @property
    def docker_nodes(self) -> tuple[NodeView, ...]:
        return tuple(node for node in self.nodes if node.on_docker)


def survey(snapshot: Snapshot) -> Survey:
    """Prepare a snapshot. The cost grows with the number of pods once, not once per rule."""
    nodes = _nodes(snapshot)
    return Survey(
        snapshot=snapshot,
        nodes=nodes,
        workloads=_concerned(snapshot, workloads.survey(snapshot)),
        docker_sockets=DOCKER_SOCKETS | _own_sockets(nodes),
    )


def _nodes(snapshot: Snapshot) -> tuple[NodeView, ...]:
    known = {str(node["metadata"]["name"]): node for node in snapshot.nodes}
    docker = [name for name, node in known.items() if _runs_docker(node)]
    pods: dict[str, list[Manifest]] = {}
    for pod in snapshot.pods:
        pods.setdefault(str(pod["spec"].get("nodeName", "")), []).append(pod)
    return tuple(
        NodeView(
            name=name,
            manifest=known.get(name),
            facts=snapshot.facts.get(name),
            pods=tuple(pods.get(name, ())),
        )
        for name in sorted(set(snapshot.targets or docker))
    )


def _runs_docker(node: Manifest) -> bool:
    info = (node.get("status") or {}).get("nodeInfo") or {}
    return str(info.get("containerRuntimeVersion", "")).startswith("docker://")


def _concerned(snapshot: Snapshot, found: tuple[Workload, ...]) -> tuple[Workload, ...]:
    """Workloads that the targets can meet: with named targets, those that run on one of them.

    A controller without any pod yet can run anywhere, so it counts.
    """
    if not snapshot.targets:
        return found
    targets = set(snapshot.targets)
    elsewhere = {w.subject for w in found if w.nodes} - {
        w.subject for w in found if targets & set(w.nodes)
    }
    return tuple(w for w in found if w.subject not in elsewhere)


def _own_sockets(nodes: tuple[NodeView, ...]) -> frozenset[str]:
    """Sockets that dockerd listens on besides the usual one."""
    found = set()
    for node in nodes:
        docker = node.facts.docker if node.facts else None
        words = (node.kubelet_flags.get("docker-endpoint", ""), *(docker.argv if docker else ()))
        for word in words:
            address = word.removeprefix("--host=").removeprefix("-H")
            if address.startswith("unix://"):
                found.add(normalise(address.removeprefix("unix://")))
    return frozenset(found)
