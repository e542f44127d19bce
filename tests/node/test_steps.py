"""What the runner makes of steps: their checks, their time, their words, their failures."""

from __future__ import annotations

import json

import pytest

from tests.node.scratch import FAILED, STEPS, Scratch, nothing_left
from unshim.core.steps import ScriptStep, Stage


@pytest.mark.parametrize("part", ["apply", "verify"])
@pytest.mark.parametrize("step", ["stop-old", "start-new"])
def test_a_failing_step_brings_the_node_back(node: Scratch, step: str, part: str) -> None:
    """The runner goes back by itself, at once; the operator is not needed."""
    before = node.tree()
    node.staged()
    (node.root / f"fail-{part}-{step}").touch()
    node.verb("switch", "1", "180")
    assert node.tree() == before
    assert node.service() == "old"
    assert node.state().verdict == "rolled-back StepFailed"
    assert f"failed {step}" in node.events()
    assert nothing_left(node)


def test_a_failing_stage_step_stops_before_the_switch(node: Scratch) -> None:
    """Exit code 1, the step's own words in the journal, and no switch afterwards."""
    broken = ScriptStep(
        name="broken", summary="s", stage=Stage.STAGE, apply='echo "no \\"room\\"" >&2; exit 3',
        keep="k",
    )  # fmt: skip
    node.upload((broken, *STEPS))
    assert node.verb("stage", "1").returncode == FAILED
    last = node.state().journal.entries[-1]
    assert (last.event, last.step) == ("failed", "broken")
    assert last.detail.strip() == "exit code 3: no room"
    node.verb("switch", "1", "180")
    assert "armed" not in node.events()


def test_what_held_before_is_skipped_and_never_undone(node: Scratch) -> None:
    """Only what this run began is taken back."""
    found = ScriptStep(
        name="found", summary="s", check="true", apply="false",
        undo=': >"$WORLD/undone-though-skipped"',
    )  # fmt: skip
    node.upload((*STEPS, found))
    node.verb("stage", "1")
    node.verb("switch", "1", "180")
    assert "skipped found" in node.events()
    node.verb("rollback", "Asked")
    assert not (node.root / "undone-though-skipped").exists()


def test_a_check_that_cannot_tell_fails_the_step(node: Scratch) -> None:
    """Exit codes beyond 0 and 1 are no answer."""
    unsure = ScriptStep(name="unsure", summary="s", check="exit 5", apply="true", undo="true")
    node.upload((*STEPS, unsure))
    node.verb("stage", "1")
    node.verb("switch", "1", "180")
    assert node.state().verdict == "rolled-back StepFailed"
    assert "cannot tell" in str(node.state().journal)


def test_a_step_has_its_time_and_no_more(node: Scratch) -> None:
    """A hanging step is killed, named, and the node goes back."""
    slow = ScriptStep(name="slow", summary="s", apply="sleep 60", undo="true", timeout=1)
    node.upload((*STEPS, slow))
    node.verb("stage", "1")
    node.verb("switch", "1", "180")
    assert node.state().verdict == "rolled-back StepFailed"
    assert "no answer within 1 s" in str(node.state().journal)


def test_a_step_that_leaves_a_process_behind_does_not_hold_the_run_up(node: Scratch) -> None:
    """Only the step's own end counts, not who else holds its output open."""
    leaves = ScriptStep(
        name="leaves", summary="s", apply="sleep 3 9>&- & echo begun", undo="true", timeout=2
    )
    node.upload((*STEPS, leaves))
    node.verb("stage", "1")
    node.verb("switch", "1", "180")
    assert node.events()[-1] == "switched"


def test_words_of_steps_are_made_safe(node: Scratch) -> None:
    """Quotes, control characters and floods cannot spoil the journal."""
    noisy = ScriptStep(
        name="noisy", summary="s", stage=Stage.STAGE, keep="k",
        apply="printf '\"}\\n{\\033[2J\\0\\377\\\\ $(reboot) `x` %1000s' end; exit 1",
    )  # fmt: skip
    node.upload((noisy, *STEPS))
    node.verb("stage", "1")
    last = node.state().journal.entries[-1]
    assert last.step == "noisy"
    assert len(last.detail) <= 400
    for line in (node.run_folder / "journal").read_text().splitlines():
        json.loads(line)


def test_no_step_begins_once_a_verdict_stands(node: Scratch) -> None:
    """The dead-man decides while a step runs: what comes after it is not applied any more."""
    before = node.tree()
    decided = ScriptStep(
        name="decided", summary="s", undo="true",
        apply='echo rolled-back DeadMan >"$UNSHIM_RUN_DIR/verdict"',
    )  # fmt: skip
    late = ScriptStep(name="late", summary="s", apply=': >"$WORLD/late"', undo="true")
    node.upload((*STEPS, decided, late))
    node.verb("stage", "1")
    node.verb("switch", "1", "180")
    assert not (node.root / "late").exists()
    assert "switched" not in node.events()
    assert node.state().verdict == "rolled-back DeadMan"
    assert node.tree() == before
    assert node.events()[-1] == "end"
