"""Crashes at every effect and failures at every step, by the thousand, on the fake world.

The engine, the decisions, the playbook, the edits and the facts are the real ones; only the API
server, the node and the clock are fakes. After each crash a new engine with an empty memory goes on
in the same world, as a restarted operator does.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.fakes import (
    DOCKERSHIM,
    Crash,
    FakeCluster,
    FakeMachines,
    FakeNode,
    Faults,
    World,
)
from unshim import node, playbooks
from unshim.core import facts_parse
from unshim.core.decide import CONTAINERD_SOCKET
from unshim.core.facts import NodeFacts
from unshim.core.journal import Event
from unshim.core.objects import CRI_SOCKET_ANNOTATION
from unshim.core.options import DrainOptions, Options, VerifyOptions
from unshim.core.status import Progress
from unshim.engine.engine import Engine
from unshim.engine.session import Session
from unshim.engine.tools import Tools

FACTS = Path(__file__).parent / "data" / "facts" / "worker.txt"
PLAYBOOK = playbooks.load("docker-to-containerd")
STEPS = [step.name for step in PLAYBOOK.steps]
SWITCH_STEPS = [step.name for step in PLAYBOOK.steps if step.stage.value == "switch"]
RUN = "0000-run"
MAX_TICKS = 400
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
class Scene:
    """One world and everything needed to run an operator in it."""

    sample: NodeFacts
    faults: Faults = field(default_factory=Faults)
    options: Options = OPTIONS
    found_cordon: bool = False
    go_back_after: int = 0  # a person asks to roll back once this many effects have happened

    def __post_init__(self) -> None:
        self.world = World(faults=self.faults)
        self.machine = FakeNode(world=self.world)
        self.cluster = FakeCluster(world=self.world, machine=self.machine)
        self.cluster.unschedulable = self.found_cordon
        self.crashes = 0

    def play(self) -> Progress:
        """Operators one after the other, until the run has ended."""
        for number in range(6):
            try:
                return self._operate(f"operator-{number}")
            except Crash:
                self.crashes += 1
                self.faults.crash_before = self.faults.crash_after = 0
        raise AssertionError("the run never ended")

    def _operate(self, holder: str) -> Progress:
        tools = Tools(
            cluster=self.cluster,
            machines=FakeMachines(self.world, self.machine, self.sample),
            playbooks=lambda _: PLAYBOOK,
            clock=self.world.clock,
            runner=node.script(node.RUNNER),
            canary_image="registry.lab:5000/unshim/canary:1",
        )
        engine, session = Engine(tools), Session(run=RUN, options=self.options, holder=holder)
        self.world.hook = lambda number: self._maybe_ask(session, number)
        self._maybe_ask(session, self.world.effects)
        for _ in range(MAX_TICKS):
            progress = engine.tick(session)
            self._at_every_instant()
            if progress.finished:
                return progress
            self.world.clock.sleep(progress.delay or 1.0)
        raise AssertionError(f"still {progress.phase} after {MAX_TICKS} ticks: {progress.message}")

    def _maybe_ask(self, session: Session, number: int) -> None:
        if self.go_back_after and number >= self.go_back_after:
            session.go_back = session.go_back or "RollbackRequested"

    def _at_every_instant(self) -> None:
        if not self.machine.as_it_was:
            assert self.machine.has(Event.ARMED), "the node was changed before the dead-man"

    def check(self, progress: Progress) -> None:
        """The oracle: fully new, or exactly as it was; and status says what the node says."""
        told = f"{progress.phase} {progress.reason} {progress.message} {self.world.trace}"
        ends = {"Succeeded", "RolledBack", "Refused", "Audited"}
        if self.faults.fail_undo and progress.phase == "Failed":
            assert self.cluster.unschedulable, told
            return
        assert progress.phase in ends, told
        new = progress.phase == "Succeeded"
        assert self.machine.as_it_was is not new, told
        wanted = CONTAINERD_SOCKET if new else DOCKERSHIM
        assert self.cluster.annotations[CRI_SOCKET_ANNOTATION] == wanted, told
        assert self.cluster.unschedulable is self.found_cordon, told
        assert self.cluster.stamp is None, told
        assert not self.cluster.canary_life, told
        verdict = self.machine.verdict.split(" ")[0]
        fits = {"Succeeded": {"confirmed"}, "RolledBack": {"rolled-back", ""}}
        assert verdict in fits.get(progress.phase, {""}), told


def explored(scene: Scene) -> Scene:
    scene.check(scene.play())
    return scene


def effects(sample: NodeFacts, **faults: object) -> int:
    """How many effects a run with these faults has."""
    return explored(Scene(sample, Faults(**faults))).world.effects  # type: ignore[arg-type]


def test_a_run_without_faults_succeeds(sample: NodeFacts) -> None:
    """The reference run that all others are compared with."""
    scene = Scene(sample)
    assert scene.play().phase == "Succeeded"
    assert scene.cluster.told[:2] == ["Cordoned", "Drained"]


#: Ways to go, each explored with a crash before and after every one of its effects.
WAYS: tuple[dict[str, object], ...] = (
    {},
    {"never_proven": True},
    {"never_drained": True},
    *(dict[str, object](fail_apply=name) for name in STEPS),
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(map(str, way.values())) or "good")
def test_a_crash_at_every_effect(sample: NodeFacts, way: dict[str, object]) -> None:
    """SIGKILL before and after each effect, on every way to go: never stuck, never half."""
    total = effects(sample, **way)
    # far into a long wait each effect is like the one before it
    for number in range(1, min(total, 60) + 1):
        explored(Scene(sample, Faults(**way, crash_before=number)))  # type: ignore[arg-type]
        explored(Scene(sample, Faults(**way, crash_after=number)))  # type: ignore[arg-type]


def test_a_connection_lost_at_every_effect(sample: NodeFacts) -> None:
    """Requests that never arrive, and answers that never come back, one and two at a time."""
    total = effects(sample)
    for first, second in itertools.combinations(range(1, total + 1), 2):
        explored(Scene(sample, Faults(unreachable=frozenset({first, second}))))
        explored(Scene(sample, Faults(lost_answer=frozenset({first, second}))))


def test_power_cut_at_every_effect_of_the_runner(sample: NodeFacts) -> None:
    """A reboot in the middle of the switch or of the rollback ends on a working runtime."""
    for number in range(1, 3 * len(STEPS)):
        explored(Scene(sample, Faults(power_cut=number)))
        explored(Scene(sample, Faults(power_cut=number, never_proven=True)))


def test_an_undo_that_fails_needs_a_person(sample: NodeFacts) -> None:
    """The node stays cordoned and says Failed, never RolledBack."""
    for name in SWITCH_STEPS:
        scene = Scene(sample, Faults(never_proven=True, fail_undo=name))
        progress = scene.play()
        scene.check(progress)
        assert progress.phase == "Failed", name


def test_a_cordon_that_was_found_stays(sample: NodeFacts) -> None:
    """On success, on rollback, and with a crash at every effect of either."""
    for way in WAYS[:3]:
        for number in range(40):
            faults = Faults(**way, crash_after=number)  # type: ignore[arg-type]
            explored(Scene(sample, faults, found_cordon=True))


def test_a_person_may_ask_to_go_back_at_any_time(sample: NodeFacts) -> None:
    """Deleting the object, or spec.rollback, at every point of the run, also with a crash."""
    total = effects(sample) - 1  # the last one removes the canary of a run that has ended
    for asked in range(1, total + 1):
        for crash in range(0, total + 6, 3):
            scene = Scene(sample, Faults(crash_after=crash), go_back_after=asked)
            assert explored(scene).machine.as_it_was


def test_a_dry_run_has_no_effect(sample: NodeFacts) -> None:
    """Nothing but reading."""
    scene = Scene(sample, options=replace(OPTIONS, dry_run=True))
    assert scene.play().phase == "Audited"
    changing = [e for e in scene.world.trace if e.startswith("api:") and e != "api:evict"]
    assert changing == []
    assert scene.machine.steps == ()
    assert not scene.cluster.evicted
