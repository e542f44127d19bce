"""A snapshot prepared for the rules: target nodes with their pods and facts, and the workloads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from unshim.audit import workloads
from unshim.audit.paths import DOCKER_SOCKETS, normalise
from unshim.audit.snapshot import Snapshot
from unshim.audit.workloads import Owners, Workload
from unshim.core import eviction, flags
from unshim.core.edits import node_values
from unshim.core.eviction import Judgement
from unshim.core.facts import NodeFacts
from unshim.core.objects import Manifest
from unshim.core.options import DrainOptions

#: The gate turned off, as a flag or in YAML or JSON; Go reads false in six spellings.
_PROBE_GATE = re.compile(r"ExecProbeTimeout[\"']?\s*[:=]\s*(?:false|False|FALSE|f|F|0)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """One target node. `manifest` is None when the cluster has no such node.

    `judged` is the drain, rehearsed: what would become of each pod.
    """

    name: str
    manifest: Manifest | None
    facts: NodeFacts | None
    pods: tuple[Manifest, ...] = ()
    judged: tuple[Judgement, ...] = ()
    kubelet_flags: Mapping[str, str] = field(default_factory=dict)

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
    docker_roots: frozenset[str] = frozenset({"/var/lib/docker"})  # Docker's data folders
    lenient: frozenset[str] = frozenset()  # nodes that ignore time limits of exec probes
    budgets: Mapping[str, tuple[Manifest, ...]] = field(default_factory=dict)  # by namespace
    controllers: Mapping[str, tuple[Manifest, ...]] = field(default_factory=dict)  # by namespace
    claims: Mapping[str, Manifest] = field(default_factory=dict)  # "namespace/claim" -> its volume
    everywhere: tuple[Workload, ...] = ()  # workloads of all nodes, whatever the targets
    open_nodes: frozenset[str] = frozenset()  # nodes that take any pod
    owners: Owners = field(default_factory=Owners)

    @property
    def data_parents(self) -> frozenset[str]:
        """The folders right above Docker's data; the root and /var have a rule of their own."""
        above = {root.rpartition("/")[0] for root in self.docker_roots}
        return frozenset(above - {"", "/var"})

    def chain(self, pod: Manifest) -> tuple[str, ...]:
        """From a pod up to its workload, as findings show it."""
        links = self.owners.chain(pod)[1]
        return (f"Pod/{pod['metadata']['name']}", *(f"{kind}/{name}" for kind, name in links))


def survey(snapshot: Snapshot) -> Survey:
    """Prepare a snapshot. The cost grows with the number of pods once, not once per rule."""
    nodes = _nodes(snapshot)
    owners = Owners(snapshot.controllers)
    claims = workloads.claimed(snapshot.volumes)
    everywhere = workloads.survey(snapshot, owners, claims)
    return Survey(
        snapshot=snapshot,
        nodes=nodes,
        workloads=_concerned(snapshot, everywhere),
        everywhere=everywhere,
        owners=owners,
        claims=claims,
        controllers=_by_namespace(snapshot.controllers),
        open_nodes=frozenset(str(n["metadata"]["name"]) for n in snapshot.nodes if _open(n)),
        docker_sockets=DOCKER_SOCKETS | _own_sockets(nodes),
        docker_roots=frozenset({"/var/lib/docker", *_own_roots(nodes)}),
        lenient=frozenset(node.name for node in nodes if _ignores_probe_timeouts(node)),
        budgets=_by_namespace(snapshot.budgets),
    )


def _open(node: Manifest) -> bool:
    """Whether a pod without tolerations and without a wish of its own would fit in."""
    spec = node.get("spec") or {}
    taints = {taint.get("effect") for taint in spec.get("taints") or ()}
    shut = bool(taints & {"NoSchedule", "NoExecute"})
    ready = condition(node, "Ready").get("status") == "True"
    return ready and not shut and not spec.get("unschedulable")


def _by_namespace(objects: tuple[Manifest, ...]) -> Mapping[str, tuple[Manifest, ...]]:
    found: dict[str, list[Manifest]] = {}
    for item in objects:
        found.setdefault(str(item["metadata"].get("namespace", "")), []).append(item)
    return {namespace: tuple(items) for namespace, items in found.items()}


def _nodes(snapshot: Snapshot) -> tuple[NodeView, ...]:
    known = {str(node["metadata"]["name"]): node for node in snapshot.nodes}
    pods: dict[str, list[Manifest]] = {}
    for pod in snapshot.pods:
        pods.setdefault(str(pod["spec"].get("nodeName", "")), []).append(pod)
    daemon_sets = _daemon_sets(snapshot)
    return tuple(
        _view(name, known.get(name), tuple(pods.get(name, ())), snapshot, daemon_sets)
        for name in sorted(set(snapshot.targets or snapshot.on_docker()))
    )


def _view(
    name: str,
    manifest: Manifest | None,
    pods: tuple[Manifest, ...],
    snapshot: Snapshot,
    daemon_sets: frozenset[str],
) -> NodeView:
    facts = snapshot.facts.get(name)
    drain = snapshot.options.drain if snapshot.options else DrainOptions()
    owners = {eviction.daemon_set_of(pod) for pod in pods} if daemon_sets else set()
    gone = frozenset(owner for owner in owners if owner is not None) - daemon_sets
    return NodeView(
        name=name,
        manifest=manifest,
        facts=facts,
        pods=pods,
        judged=eviction.judge(pods, drain, gone | snapshot.orphaned),
        kubelet_flags=flags.effective(facts.kubelet.argv) if facts and facts.kubelet else {},
    )


def _daemon_sets(snapshot: Snapshot) -> frozenset[str]:
    """Every DaemonSet as "namespace/name"; empty when not all are listed."""
    if not snapshot.whole_cluster:
        return frozenset()
    return frozenset(
        f"{c['metadata'].get('namespace', '')}/{c['metadata']['name']}"
        for c in snapshot.controllers
        if c.get("kind") == "DaemonSet"
    )


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


def _own_roots(nodes: tuple[NodeView, ...]) -> Iterator[str]:
    for node in nodes:
        if node.facts is not None:
            yield normalise(node_values.docker_root(node.facts))


def _ignores_probe_timeouts(node: NodeView) -> bool:
    """Docker ignored them up to kubelet 1.19, and later with the gate ExecProbeTimeout off."""
    gates = node.kubelet_flags.get("feature-gates", "")
    config = node.facts.kubelet.config_text if node.facts and node.facts.kubelet else ""
    off = _PROBE_GATE.search(f"{gates}\n{config}") is not None
    return node.on_docker and (off or (1, 0) < node.kubelet_minor < (1, 20))
