"""A synthetic fleet: 30 pods a node, their controllers, and the findings planted among them.

What it holds per fifty nodes is written in GROUPS; DaemonSets come on top, once for the cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.bench import shapes
from tests.bench.shapes import HASH, NODE, OWNER, POD, SPACE, UID, WORKLOAD, Object

SPACES = 500
OLD_HASHES = ("5c6b7d8e9f", "6f5d4c3b2a")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Workloads that are alike. `count` is per fifty nodes; a DaemonSet has a pod on every node."""

    name: str
    kind: str
    count: int
    pods: int
    spec: Object


GROUPS = (
    Group(name="ci", kind="Deployment", count=1, pods=10, spec=shapes.template(shapes.SOCKET)),
    Group(name="told", kind="Deployment", count=1, pods=10,
          spec=shapes.template(env=(shapes.DOCKER_HOST,))),
    Group(name="held", kind="Deployment", count=1, pods=10, spec=shapes.template()),
    Group(name="scratch", kind="Deployment", count=18, pods=10,
          spec=shapes.template(shapes.SCRATCH)),
    Group(name="plain", kind="Deployment", count=69, pods=10, spec=shapes.template()),
    Group(name="store", kind="StatefulSet", count=20, pods=8, spec=shapes.template()),
    Group(name="job", kind="Job", count=35, pods=1, spec=shapes.template(restart="Never")),
    Group(name="bare", kind="", count=5, pods=1, spec=shapes.template()),
)  # fmt: skip
DAEMONS = (
    *(Group(name=f"daemon{i}", kind="DaemonSet", count=0, pods=0, spec=shapes.template())
      for i in range(6)),
    Group(name="agent", kind="DaemonSet", count=0, pods=0, spec=shapes.template(shapes.SOCKET)),
    Group(name="logs", kind="DaemonSet", count=0, pods=0, spec=shapes.template(shapes.LOGS)),
)  # fmt: skip
SERVICES = {"ConfigMap": 120, "quiet budget": 29, "CronJob": 10}  # per fifty nodes
PLURALS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets",
           "ReplicaSet": "replicasets", "Job": "jobs"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Copy:
    """A shape to be copied to an etcd key, with these tokens replaced."""

    key: str
    shape: str
    tokens: Mapping[str, str]


class Fleet:
    """`nodes` is a multiple of fifty."""

    def __init__(self, nodes: int) -> None:
        if nodes % 50:
            raise ValueError(f"{nodes} is not a multiple of fifty")
        self.nodes, self.fifties = nodes, nodes // 50
        self.pods = 30 * nodes

    def planted(self) -> dict[str, int]:
        """Findings by rule."""
        scratch_pods, bare_pods = 18 * 10 * self.fifties, 5 * self.fifties
        return {
            "docker-socket": self.fifties + 1,
            "docker-data": 1,
            "docker-host": self.fifties,
            "log-parser": self.fifties,
            "eviction-blocked": 10 * self.fifties,
            "drain-refused": scratch_pods + bare_pods,
            "pods-outlive-drain": self.nodes,
            "api-only": 1,
        }

    def copies(self) -> Iterator[Copy]:
        """Every object, each once."""
        self._serial = self._workload = 0
        for number in range(min(SPACES, self.nodes)):
            yield self._copy("namespaces/" + SPACE, "namespace", {SPACE: f"team-{number:03d}"})
        for number in range(self.nodes):
            yield self._copy("minions/" + NODE, "node", {NODE: _node(number)})
        for group in DAEMONS:
            yield from self._group(group, self.nodes)
        for group in GROUPS:
            for _ in range(group.count * self.fifties):
                yield from self._group(group, group.pods)
        yield from self._services()

    def _group(self, group: Group, pods: int) -> Iterator[Copy]:
        tokens = self._named()
        if group.kind:
            yield self._copy(_key(PLURALS[group.kind]), f"{group.name} owner", tokens)
        if group.kind == "Deployment":
            for name in (HASH, *OLD_HASHES):
                key = f"{_key('replicasets')}-{name}"
                yield self._copy(key, f"{group.name} set {name}", tokens)
        if group.name == "held":
            yield self._copy(_key("poddisruptionbudgets"), "tight budget", tokens)
        for number in range(pods):
            at = {POD: f"{number:05d}", NODE: _node(self._serial % self.nodes)}
            key = f"pods/{SPACE}/{_pod_name(group)}"
            yield self._copy(key, f"{group.name} pod", {**tokens, **at})

    def _services(self) -> Iterator[Copy]:
        plurals = {"ConfigMap": "configmaps", "quiet budget": "poddisruptionbudgets",
                   "CronJob": "cronjobs"}  # fmt: skip
        for shape, count in SERVICES.items():
            for number in range(count * self.fifties):
                planted = shape == "ConfigMap" and number % count == 0
                name = "parser" if planted else shape
                yield self._copy(_key(plurals[shape]), name, self._named())

    def _named(self) -> dict[str, str]:
        """The tokens of the next workload."""
        self._workload += 1
        return {
            WORKLOAD: f"work-{self._workload:05d}",
            SPACE: f"team-{self._workload % min(SPACES, self.nodes):03d}",
            OWNER: f"{self._workload:08x}-1111" + OWNER[13:],
        }

    def _copy(self, key: str, shape: str, tokens: Mapping[str, str]) -> Copy:
        self._serial += 1
        for token, value in tokens.items():
            key = key.replace(token, value)
        uid = f"{self._serial:08x}-2222" + UID[13:]
        return Copy(f"/registry/{key}", shape, {**tokens, UID: uid})


def _node(number: int) -> str:
    return f"node-{number:05d}"


def _key(plural: str) -> str:
    return f"{plural}/{SPACE}/{WORKLOAD}"


def _pod_name(group: Group) -> str:
    return f"{_owner_name(group)}-{POD}"


def _owner_name(group: Group) -> str:
    return f"{WORKLOAD}-{HASH}" if group.kind == "Deployment" else WORKLOAD


def all_shapes() -> dict[str, Object]:
    """Every shape by name."""
    found: dict[str, Object] = {
        "namespace": {"apiVersion": "v1", "kind": "Namespace",
                      "metadata": shapes.meta(SPACE, space=""), "status": {"phase": "Active"}},
        "node": shapes.node(),
        "ConfigMap": shapes.config_map("plain = yes\n"),
        "parser": shapes.config_map(shapes.PARSER),
        "tight budget": shapes.budget(0),
        "quiet budget": shapes.budget(1),
        "CronJob": shapes.cron_job(),
    }  # fmt: skip
    for group in (*DAEMONS, *GROUPS):
        found |= _of_group(group)
    return found


def _of_group(group: Group) -> dict[str, Object]:
    kind, spec, owner = group.kind, group.spec, ""
    found: dict[str, Object] = {}
    if kind:
        more = {"serviceName": WORKLOAD} if kind == "StatefulSet" else {}
        found[f"{group.name} owner"] = shapes.controller(kind, spec, **more)
        owner = f"{'ReplicaSet' if kind == 'Deployment' else kind}/{_owner_name(group)}"
    if kind == "Deployment":
        for name in (HASH, *OLD_HASHES):
            found[f"{group.name} set {name}"] = shapes.controller(
                "ReplicaSet", spec, name=f"{WORKLOAD}-{name}",
                replicas=group.pods if name == HASH else 0,
            )  # fmt: skip
    phase = "Succeeded" if kind == "Job" else "Running"
    pod = shapes.pod(spec, name=_pod_name(group), owner=owner, phase=phase)
    return {**found, f"{group.name} pod": pod}
