"""A small world that holds state: one cluster, one node with a model of the runner, one clock.

Used to explore thousands of crash and fault orders quickly. Everything shown here is shown again on
the real cluster of tests/lab; the model is checked against the real runner in tests/node.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from unshim.core import webhooks
from unshim.core.facts import NodeFacts, NodeRun
from unshim.core.journal import Entry, Event, Journal
from unshim.core.objects import (
    CRI_SOCKET_ANNOTATION,
    CanaryResult,
    Eviction,
    Manifest,
    Node,
    RunState,
    Stamp,
)
from unshim.core.steps import ScriptStep
from unshim.core.webhooks import Webhooks
from unshim.errors import Busy, ClusterUnavailable, Forbidden, NodeUnreachable

START = datetime(2026, 1, 1, tzinfo=UTC)
DOCKERSHIM = "/var/run/dockershim.sock"


class Crash(BaseException):
    """The operator's process dies here (SIGKILL): nothing after this line runs."""


@dataclass
class FakeClock:
    """Time moves when somebody sleeps or acts; then due timers fire."""

    time: datetime = START
    timers: list[Callable[[], None]] = field(default_factory=list)

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=max(seconds, 0.01))
        for timer in list(self.timers):
            timer()


@dataclass
class Faults:
    """What goes wrong. Effects of the operator are numbered from 1 in the order they happen."""

    crash_before: int = 0
    crash_after: int = 0
    unreachable: frozenset[int] = frozenset()  # effects whose connection fails before acting
    lost_answer: frozenset[int] = frozenset()  # effects that act, but whose answer is lost
    fail_apply: str = ""  # step whose apply fails
    fail_undo: str = ""
    never_proven: bool = False
    never_drained: bool = False
    power_cut: int = 0  # the node loses power at this runner effect, and boots again


@dataclass
class World:
    """Cluster, node and clock with one set of faults."""

    faults: Faults = field(default_factory=Faults)
    clock: FakeClock = field(default_factory=FakeClock)
    effects: int = 0
    trace: list[str] = field(default_factory=list)
    hook: Callable[[int], None] = lambda _: None  # told each effect's number before it happens

    def effect(self, name: str, act: Callable[[], Any]) -> Any:
        """One effect of the operator on the outside world, with its faults."""
        self.effects += 1
        number = self.effects
        self.trace.append(name)
        self.hook(number)
        self.clock.sleep(0.05)
        if number == self.faults.crash_before:
            raise Crash(name)
        if number in self.faults.unreachable:
            raise _lost(name)
        result = act()
        if number == self.faults.crash_after:
            raise Crash(name)
        if number in self.faults.lost_answer:
            raise _lost(name)
        return result


def _lost(name: str) -> Exception:
    if name.startswith("node:"):
        return NodeUnreachable(f"lost in {name}")
    return ClusterUnavailable(f"lost in {name}")


@dataclass
class FakeNode:
    """The machine: a model of the runner and of what its steps leave behind."""

    world: World
    steps: tuple[tuple[str, str], ...] = ()  # (stage or switch, name), from the bundle
    applied: list[str] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    verdict: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
    dead_man: datetime | None = None
    token: int = 0
    runner_effects: int = 0
    kept: frozenset[str] = frozenset()  # steps without undo: staged packages and images

    def __post_init__(self) -> None:
        self.world.clock.timers.append(self._tick)

    @property
    def runtime(self) -> str:
        changed = [s for s in self.applied if s not in self.kept]
        return "containerd://1.6.20" if changed else "docker://20.10.24"

    @property
    def as_it_was(self) -> bool:
        return not [s for s in self.applied if s not in self.kept]

    def write(self, event: Event, step: str = "", detail: str = "") -> None:
        at = int(self.world.clock.now().timestamp())
        entry = Entry(seq=len(self.entries), at=at, event=event, step=step, detail=detail)
        self.entries.append(entry)

    def has(self, event: Event) -> bool:
        return any(e.event is event for e in self.entries)

    def state(self) -> RunState:
        now = int(self.world.clock.now().timestamp())
        journal = Journal(entries=tuple(self.entries))
        return RunState(journal=journal, verdict=self.verdict, meta=self.meta, now=now)

    def upload(self, parts: Mapping[str, bytes]) -> None:
        if self.steps:
            return
        order = parts["order"].decode().splitlines()
        self.steps = tuple((line.split()[0], line.split()[1]) for line in order)
        self.kept = frozenset(name for stage, name in self.steps if stage == "stage")
        self.meta = json.loads(parts["meta.json"])

    def stage(self) -> None:
        if self.verdict or self.has(Event.STAGED):
            return
        if not self.has(Event.BEGIN):
            self.write(Event.BEGIN)
        try:
            if self._apply_all("stage"):
                self.write(Event.STAGED)
        except PowerCut:
            raise NodeUnreachable("the node lost power while staging") from None

    def switch(self, seconds: int) -> None:
        if self.verdict or self.has(Event.ARMED):
            return
        self.write(Event.ARMED)
        self.dead_man = self.world.clock.now() + timedelta(seconds=seconds)
        try:
            if self._apply_all("switch"):
                self.write(Event.SWITCHED)
            else:
                self.roll_back("StepFailed")
        except PowerCut:
            self.boot()

    def boot(self) -> None:
        """Power is back: the recovery unit runs before the kubelet."""
        if self.has(Event.ARMED) and not self.verdict:
            self.roll_back("Rebooted")
        elif self.verdict.startswith("rolled-back") and not self.has(Event.END):
            self._undo_all()

    def _apply_all(self, stage: str) -> bool:
        for kind, name in self.steps:
            if kind != stage or self._settled(name):
                continue
            self.write(Event.STARTED, name)
            self._power()
            if self.world.faults.fail_apply == name:
                self.write(Event.FAILED, name, "injected")
                return False
            self.applied.append(name)
            self._power()
            self.write(Event.DONE, name)
        return True

    def _settled(self, name: str) -> bool:
        return any(e.step == name and e.event is Event.DONE for e in self.entries)

    def _power(self) -> None:
        self.runner_effects += 1
        if self.runner_effects == self.world.faults.power_cut:
            raise PowerCut

    def confirm(self) -> None:
        if not self.verdict:
            self.verdict = "confirmed"
        if self.verdict == "confirmed" and not self.has(Event.CONFIRMED):
            self.dead_man = None
            self.write(Event.CONFIRMED)
            self.write(Event.END)

    def roll_back(self, reason: str) -> None:
        if not self.verdict:
            self.verdict = f"rolled-back {reason}"
        if self.verdict == "confirmed" or (self.entries and self.entries[-1].event is Event.END):
            return
        self.dead_man = None
        self.write(Event.ROLLBACK, detail=reason)
        try:
            self._undo_all()
        except PowerCut:
            self.boot()

    def reopen(self, reason: str) -> None:
        if self.verdict != "confirmed":
            return
        self.verdict = ""
        self.write(Event.REOPENED, detail=reason)
        self.roll_back(reason)

    def _undo_all(self) -> None:
        for name in reversed([n for _, n in self.steps if n not in self.kept]):
            touched = [e for e in self.entries if e.step == name]
            if not touched or touched[-1].event is Event.UNDONE:
                continue
            if self.world.faults.fail_undo == name:
                self.write(Event.UNDO_FAILED, name, "injected")
                return
            self._power()
            if name in self.applied:
                self.applied.remove(name)
            self.write(Event.UNDONE, name)
        self.write(Event.END)

    def _tick(self) -> None:
        if self.dead_man and self.world.clock.now() >= self.dead_man and not self.verdict:
            self.roll_back("DeadMan")


class PowerCut(Exception):
    """The node loses power inside the runner."""


@dataclass
class FakeMachine:
    """See ports.Machine."""

    world: World
    node: FakeNode
    sample: NodeFacts

    def facts(self) -> NodeFacts:
        return self.world.effect("node:facts", lambda: self.sample)  # type: ignore[no-any-return]

    def runs(self) -> tuple[NodeRun, ...]:
        return ()

    def show(self) -> RunState:
        return self._verb("show", lambda: None)

    def upload(self, parts: Mapping[str, bytes]) -> RunState:
        return self._verb("upload", lambda: self.node.upload(parts))

    def stage(self, token: int) -> RunState:
        return self._verb("stage", self.node.stage, token)

    def switch(self, token: int, dead_man_seconds: int, wait_seconds: int, until: str) -> RunState:
        return self._verb("switch", lambda: self.node.switch(dead_man_seconds), token)

    def wait(self, seconds: int) -> RunState:
        return self._verb("wait", lambda: None)

    def confirm(self, token: int) -> RunState:
        return self._verb("confirm", self.node.confirm, token)

    def roll_back(self, reason: str) -> RunState:
        return self._verb("roll-back", lambda: self.node.roll_back(reason))

    def reopen(self, token: int | None, reason: str) -> RunState:
        return self._verb("reopen", lambda: self.node.reopen(reason), token)

    def proof(self) -> Mapping[str, str]:
        return self.world.effect("node:proof", self._proof)  # type: ignore[no-any-return]

    def _proof(self) -> Mapping[str, str]:
        containerd = self.node.runtime.startswith("containerd")
        return proof_of("containerd" if containerd else "docker")

    def checks(
        self, steps: Sequence[ScriptStep], variables: Mapping[str, str]
    ) -> Mapping[str, int]:
        return {step.name: 1 for step in steps}

    def close(self) -> None:
        pass

    def _verb(self, name: str, act: Callable[[], None], token: int | None = None) -> RunState:
        def whole() -> RunState:
            if token is not None and token < self.node.token:
                raise Busy("a newer operator has been here")
            self.node.token = max(self.node.token, token or 0)
            act()
            return self.node.state()

        return self.world.effect(f"node:{name}", whole)  # type: ignore[no-any-return]


def proof_of(runtime: str) -> Mapping[str, str]:
    """What node/proof.sh prints on a healthy node of either runtime."""
    new = runtime == "containerd"
    endpoint = "--container-runtime-endpoint=unix:///run/containerd/containerd.sock"
    flags = f"--container-runtime=remote {endpoint}" if new else "--network-plugin=cni"
    return {
        "kubelet_active": "yes",
        "kubelet_started": "1",
        "kubelet_cmdline": f"/usr/bin/kubelet {flags}",
        "containerd_active": "yes",
        "docker_active": "no" if new else "yes",
        "socket_server": "containerd",
        "socket_listeners": "1",
        "docker_kubernetes": "0" if new else "3",
        "moby_shims": "0" if new else "3",
        "ctr_tasks": "3" if new else "0",
        "cgroup_systemd": "0",
        "cgroup_cgroupfs": "3",
        "cgroup_mismatch": "0",
        "pod_uids": "uid-agent ",
    }


@dataclass
class FakeMachines:
    world: World
    node: FakeNode
    sample: NodeFacts

    def open(self, node: Node, run: str) -> FakeMachine:
        return self.world.effect(  # type: ignore[no-any-return]
            "node:connect", lambda: FakeMachine(self.world, self.node, self.sample)
        )


@dataclass
class FakeCluster:
    """See ports.Cluster: one Node object, a Deployment's pod, a DaemonSet's pod."""

    world: World
    machine: FakeNode
    unschedulable: bool = False
    stamp: Stamp | None = None
    annotations: dict[str, str] = field(default_factory=lambda: {CRI_SOCKET_ANNOTATION: DOCKERSHIM})
    evicted: bool = False
    canary_life: str = ""  # of the canary pod: "" (there is none), made, leaving
    lease_holder: str = ""
    transitions: int = 0
    told: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=lambda: {"kubernetes.io/os": "linux"})
    peers: tuple[Node, ...] = ()
    reports: dict[str, Mapping[str, str]] = field(default_factory=dict)
    deleted: frozenset[str] = frozenset()  # DaemonSets, "namespace/name", whose pods are still here
    more_pods: tuple[Manifest, ...] = ()  # of this node; they stay until the drain
    elsewhere: tuple[Manifest, ...] = ()  # pods of other nodes
    controllers: tuple[Manifest, ...] = ()
    configurations: tuple[Manifest, ...] = ()  # of admission webhooks
    services: tuple[Manifest, ...] = ()
    no_reports: bool = False  # the API server forbids to write one

    def node(self, name: str) -> Node:
        return Node(
            name=name,
            uid="node-uid",
            unschedulable=self.unschedulable,
            ready=True,
            runtime=self.machine.runtime,
            kubelet_version="v1.20.2",
            heartbeat=None if self._silent() else self.world.clock.now() + timedelta(seconds=5),
            stamp=self.stamp,
            annotations=dict(self.annotations),
            labels=dict(self.labels),
            addresses={"InternalIP": "10.0.0.2"},
            allocatable={"cpu": "4", "pods": "110"},
        )

    def nodes(self) -> Sequence[Node]:
        return (self.node("worker-1"), *self.peers)

    def _silent(self) -> bool:
        """On the new runtime no heartbeat ever comes."""
        on_containerd = self.machine.runtime.startswith("containerd")
        return self.world.faults.never_proven and on_containerd

    def cordon(self, name: str, stamp: Stamp) -> None:
        def act() -> None:
            self.unschedulable, self.stamp = True, stamp

        self.world.effect("api:cordon", act)

    def uncordon(self, name: str, migration: str) -> bool:
        def act() -> bool:
            if self.stamp is None or self.stamp.migration != migration:
                return False
            self.unschedulable, self.stamp, self.evicted = False, None, False
            return True

        return self.world.effect("api:uncordon", act)  # type: ignore[no-any-return]

    def annotate(self, name: str, key: str, value: str | None) -> None:
        def act() -> None:
            if value is None:
                self.annotations.pop(key, None)
            else:
                self.annotations[key] = value

        self.world.effect("api:annotate", act)

    def pods_on(self, name: str, *, cached: bool = False) -> Sequence[Manifest]:
        prefix = self.machine.runtime.split(":", maxsplit=1)[0]
        found = [pod("agent", "DaemonSet", prefix)]
        if not self.evicted:
            found += [pod("web-1", "ReplicaSet", prefix), *self.more_pods]
        return found

    def labelled(self, namespace: str, labels: Mapping[str, str]) -> Sequence[Manifest]:
        pods = (*self.pods_on("worker-1"), *self.elsewhere)
        return [
            pod
            for pod in pods
            if pod["metadata"]["namespace"] == namespace
            and (pod["metadata"].get("labels") or {}).items() >= labels.items()
        ]

    def daemonset_exists(self, namespace: str, name: str) -> bool:
        return f"{namespace}/{name}" not in self.deleted

    def evict(self, pod: Manifest, *, grace_seconds: int | None, dry_run: bool) -> Eviction:
        def act() -> Eviction:
            if self.world.faults.never_drained:
                return Eviction(verdict="blocked", message="PDB apps/web needs 1 of 1")
            self.evicted = self.evicted or not dry_run
            return Eviction(verdict="evicted")

        return self.world.effect("api:evict", act)  # type: ignore[no-any-return]

    def delete_pod(self, pod: Manifest) -> None:
        raise AssertionError("only canaries are ever deleted")

    def budgets(self, namespace: str) -> Sequence[Manifest]:
        return []

    def volumes_of(self, pods: Sequence[Manifest]) -> Sequence[Manifest]:
        return []

    def runtime_classes_of(self, pods: Sequence[Manifest]) -> Sequence[Manifest]:
        return []

    def owners_of(self, pods: Sequence[Manifest]) -> Sequence[Manifest]:
        known = {(c["kind"], c["metadata"]["name"]): c for c in self.controllers}
        found: list[Manifest] = []
        below = list(pods)
        while below:
            references = below.pop()["metadata"].get("ownerReferences", ())
            above = [known[key] for r in references if (key := (r["kind"], r["name"])) in known]
            found, below = [*found, *above], [*below, *above]
        return found

    def webhooks(self) -> Webhooks:
        pods = tuple(
            pod
            for service in self.services
            for pod in self.labelled(service["metadata"]["namespace"], webhooks.selector(service))
        )
        return Webhooks(
            configurations=self.configurations, services=tuple(self.services), pods=pods
        )

    def canary(self, node: str, run: str, image: str) -> CanaryResult:
        """Made, run by the new kubelet, deleted; its last processes go as soon as it is."""

        def act() -> CanaryResult:
            if not self.canary_life or not self.machine.runtime.startswith("containerd"):
                self.canary_life = self.canary_life or "made"
                return CanaryResult(done=False, checks={"ran": False, "terminated": False})
            self.canary_life = "leaving"
            checks = {"ran": True, "terminated": False}
            return CanaryResult(done=False, checks=checks, leaving="canary-uid")

        return self.world.effect("api:canary", act)  # type: ignore[no-any-return]

    def remove_canary(self, node: str, run: str) -> None:
        def act() -> None:
            self.canary_life = ""

        if self.canary_life:
            self.world.effect("api:remove-canary", act)

    def acquire_lease(self, node: str, holder: str, seconds: int) -> int:
        if holder != self.lease_holder:
            self.lease_holder, self.transitions = holder, self.transitions + 1
        return self.transitions

    def release_lease(self, node: str, holder: str) -> None:
        pass

    def keep_report(self, migration: str, uid: str, texts: Mapping[str, str]) -> str:
        def act() -> str:
            if self.no_reports:
                raise Forbidden("the API server forbids: write a ConfigMap")
            self.reports[migration] = texts
            return f"unshim-system/report-{migration}"

        return self.world.effect("api:keep-report", act)  # type: ignore[no-any-return]

    def event(self, node: Node, reason: str, message: str, *, warning: bool) -> None:
        self.told.append(reason)


def pod(name: str, owner: str, prefix: str) -> Manifest:
    """A Ready pod of namespace apps, owned by a controller."""
    return {
        "metadata": {
            "name": name,
            "namespace": "apps",
            "uid": f"uid-{name}",
            "ownerReferences": [
                {"kind": owner, "name": name, "controller": True, "apiVersion": "apps/v1"}
            ],
        },
        "spec": {
            "nodeName": "worker-1",
            "containers": [{"name": "c", "image": "registry.lab:5000/apps/web:1"}],
        },
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [
                {"name": "c", "ready": True, "containerID": f"{prefix}://abc{name}"}
            ],
        },
    }
