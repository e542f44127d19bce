"""The engine in single, readable scenarios on the fake world; the thousands are in test_explore."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.fakes import Crash, FakeCluster, FakeMachines, FakeNode, Faults, World
from unshim import node, playbooks
from unshim.core import facts_parse
from unshim.core.facts import DockerContainer, NodeFacts
from unshim.core.options import DrainOptions, Options, VerifyOptions
from unshim.core.status import Progress
from unshim.engine.engine import Engine
from unshim.engine.session import Session
from unshim.engine.tools import Tools
from unshim.errors import Busy

FACTS = Path(__file__).parent / "core" / "data" / "facts" / "worker.txt"
RUN = "0000-run"
OPTIONS = Options(
    node="worker-1",
    drain=DrainOptions(timeout_seconds=120, delete_empty_dir_data=True),
    verify=VerifyOptions(timeout_seconds=60),
)


@pytest.fixture(scope="module")
def sample() -> NodeFacts:
    """What a real worker of the lab said."""
    return replace(facts_parse.parse(FACTS.read_text()), runs=())


@dataclass
class LeasedCluster(FakeCluster):
    """Somebody else holds the node's Lease for the first `held` requests."""

    held: int = 0

    def acquire_lease(self, node: str, holder: str, seconds: int) -> int:
        if self.held:
            self.held -= 1
            raise Busy("node worker-1: another operator holds its Lease")
        return super().acquire_lease(node, holder, seconds)


@dataclass
class Operator:
    """One process on one fake world; `told` keeps every status it published."""

    sample: NodeFacts
    faults: Faults = field(default_factory=Faults)
    told: list[Progress] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world = World(faults=self.faults)
        self.machine = FakeNode(world=self.world)
        self.cluster = LeasedCluster(world=self.world, machine=self.machine)
        self.tools = Tools(
            cluster=self.cluster,
            machines=FakeMachines(self.world, self.machine, self.sample),
            playbooks=playbooks.load,
            clock=self.world.clock,
            runner=node.script(node.RUNNER),
            canary_image="registry.lab:5000/unshim/canary:1",
        )
        self.session = Session(run=RUN, options=OPTIONS, holder="me", publish=self.told.append)

    def tick(self) -> Progress:
        progress = Engine(self.tools).tick(self.session)
        self.world.clock.sleep(progress.delay)
        return progress

    def play(self) -> Progress:
        for _ in range(400):
            if (progress := self.tick()).finished:
                return progress
        raise AssertionError(f"still {progress.phase}: {progress.message}")

    def before(self, effect: str, act: Callable[[], None]) -> None:
        """Do something once, just before the first effect of this name."""
        done: list[int] = []

        def hook(number: int) -> None:
            if self.world.trace[-1] == effect and not done:
                done.append(number)
                act()

        self.world.hook = hook


def phases(told: list[Progress]) -> list[str]:
    return [p.phase for p, before in zip(told, [None, *told], strict=False) if differs(p, before)]


def differs(progress: Progress, before: Progress | None) -> bool:
    return before is None or before.phase != progress.phase


def test_a_blocker_refuses_and_leaves_nothing(sample: NodeFacts) -> None:
    """A container that is not Kubernetes' own blocks: no effect on the node or the Node object."""
    foreign = DockerContainer(id="f" * 64, name="jenkins", image="jenkins:1", state="running")
    assert sample.docker is not None
    docker = replace(sample.docker, containers=(*sample.docker.containers, foreign))
    operator = Operator(replace(sample, docker=docker))
    progress = operator.play()
    assert (progress.phase, progress.reason) == ("Refused", "Blocked")
    assert "jenkins" in progress.message
    assert operator.machine.steps == ()
    assert operator.machine.entries == []
    assert not operator.cluster.unschedulable
    changing = {"api:cordon", "api:annotate", "node:upload", "node:stage", "node:switch"}
    assert not changing & set(operator.world.trace)


def test_status_tells_the_phases_in_order(sample: NodeFacts) -> None:
    """Each phase is published once, in the order of the work, and the end is the last word."""
    operator = Operator(sample)
    operator.play()
    assert phases(operator.told) == [
        "Auditing",
        "Staging",
        "Cordoned",
        "Draining",
        "Switching",
        "Verifying",
        "Confirmed",
        "Succeeded",
    ]


def test_a_busy_lease_is_waited_for_in_silence(sample: NodeFacts) -> None:
    """While another process has the node we neither act nor write over its status."""
    operator = Operator(sample)
    operator.cluster.held = 3
    for _ in range(3):
        assert operator.tick().reason == "Busy"
    assert operator.told == []
    assert operator.world.trace == []
    assert operator.play().phase == "Succeeded"


def test_an_unreachable_node_is_tried_again(sample: NodeFacts) -> None:
    """The run waits, says why, and succeeds once the node answers."""
    operator = Operator(sample, Faults(unreachable=frozenset(range(1, 21))))
    for _ in range(20):
        progress = operator.tick()
        assert (progress.phase, progress.reason) == ("Pending", "NodeUnreachable")
    assert operator.play().phase == "Succeeded"


@pytest.mark.parametrize("effect", ["api:evict", "node:switch"])
def test_a_cordon_lifted_by_others_is_set_again(sample: NodeFacts, effect: str) -> None:
    """New pods must not land on a node that is about to lose its runtime."""
    operator = Operator(sample)

    def lift() -> None:
        if operator.cluster.stamp is not None:
            operator.cluster.unschedulable = False

    operator.world.hook = lift_at(operator, effect, lift)
    assert operator.play().phase == "Succeeded"
    trace = operator.world.trace
    assert trace.count("api:cordon") == 2
    assert not operator.cluster.unschedulable


def lift_at(operator: Operator, effect: str, lift: Callable[[], None]) -> Callable[[int], None]:
    """Once: the cordon goes, and the request of that moment does not reach its server."""
    done: list[int] = []

    def hook(number: int) -> None:
        ours = operator.cluster.stamp is not None
        if ours and operator.world.trace[-1] == effect and not done:
            done.append(number)
            lift()
            operator.world.faults.unreachable = frozenset({number})

    return hook


def test_pods_that_landed_while_the_cordon_was_off_are_evicted(sample: NodeFacts) -> None:
    """Drained is true of a cordoned node only: after a new cordon it is asked again."""
    operator = Operator(sample)

    def lift() -> None:
        operator.cluster.unschedulable = False
        operator.cluster.evicted = False  # a pod lands

    operator.world.hook = lift_at(operator, "node:switch", lift)
    assert operator.play().phase == "Succeeded"
    trace = operator.world.trace
    last_switch = len(trace) - 1 - trace[::-1].index("node:switch")
    again = len(trace) - 1 - trace[::-1].index("api:cordon")
    assert "api:evict" in trace[again:last_switch]


def test_our_uncordon_comes_after_the_verdict(sample: NodeFacts) -> None:
    """At the moment of the request the node has decided, whichever way."""
    for faults in (Faults(), Faults(never_proven=True), Faults(never_drained=True)):
        operator = Operator(sample, faults)
        seen: list[str] = []
        operator.before("api:uncordon", lambda o=operator, s=seen: s.append(o.machine.verdict))  # type: ignore[misc]
        operator.play()
        assert seen
        assert seen[0]


def test_a_fenced_operator_neither_acts_nor_ends_the_run(sample: NodeFacts) -> None:
    """The node has seen a newer token: it takes nothing from us, and we keep waiting."""
    operator = Operator(sample)
    operator.machine.token = 99
    for _ in range(50):
        progress = operator.tick()
        assert not progress.finished
    assert progress.reason == "Busy"
    assert operator.machine.entries == []
    assert not operator.cluster.unschedulable


@pytest.mark.parametrize("way", [{}, {"never_proven": True}], ids=["good", "never-proven"])
def test_two_crashes_in_one_run(sample: NodeFacts, way: dict[str, bool]) -> None:
    """A second operator that dies as well: the third one ends the run, wholly one way."""
    for first in range(1, 40, 2):
        for gap in range(1, 16, 3):
            operator = Operator(sample, Faults(**way))  # type: ignore[arg-type]
            for effect in (first, first + gap):
                operator.faults.crash_after = effect
                restart(operator)
            operator.faults.crash_after = 0
            progress = operator.play()
            new = progress.phase == "Succeeded"
            assert progress.phase in {"Succeeded", "RolledBack"}, (first, gap, progress)
            assert operator.machine.as_it_was is not new
            assert operator.machine.verdict.startswith("confirmed" if new else "rolled-back")
            assert not operator.cluster.unschedulable


def restart(operator: Operator) -> None:
    """Play until the crash, then begin with an empty memory; nothing if the run ends first."""
    with suppress(Crash):
        operator.play()
    operator.session = Session(run=RUN, options=OPTIONS, holder=f"after-{operator.world.effects}")
