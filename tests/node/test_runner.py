"""The runner's verbs: what each does, what it answers, and what it leaves behind."""

from __future__ import annotations

import subprocess

import pytest

from tests.node.scratch import (
    BUSY,
    DONE,
    FAILED,
    FOREIGN,
    LOST,
    NEW,
    STEPS,
    USAGE,
    Scratch,
    nothing_left,
)
from unshim.core.steps import ScriptStep, Stage


def test_a_confirmed_run_leaves_the_new_state_and_nothing_of_ours(node: Scratch) -> None:
    """Stage, switch, confirm: every file is new, every line is in order, all units are gone."""
    node.switched()
    assert node.recovery_enabled
    assert node.timer_ticks
    done = node.verb("confirm", "1")
    assert done.returncode == DONE
    assert node.service() == "new"
    assert {p: node.tree()[p][3] for p in NEW} == NEW
    assert "etc/obsolete" not in node.tree()
    assert nothing_left(node)
    assert node.state().verdict == "confirmed"
    assert node.events() == [
        "begin", "started prepare", "done prepare", "staged", "armed",
        "started stop-old", "done stop-old", "started files", "done files", "skipped nothing",
        "started more-files", "done more-files", "started start-new", "done start-new",
        "switched", "confirmed", "end",
    ]  # fmt: skip


def test_new_files_get_their_mode_and_changed_ones_keep_theirs(node: Scratch) -> None:
    """0640 stays 0640; a made file has the mode that was planned."""
    node.switched()
    assert node.tree()["etc/flags"][0] == "-rw-r-----"
    assert node.tree()["etc/made/deep/conf"][0] == "-rw-------"


def test_a_rollback_restores_every_byte_mode_and_absence(node: Scratch) -> None:
    """After a rollback the listing equals the one before, and nothing of ours is left."""
    before = node.tree()
    node.switched()
    assert node.tree() != before
    done = node.verb("rollback", "Asked")
    assert done.returncode == DONE
    assert node.tree() == before
    assert node.service() == "old"
    assert nothing_left(node)
    assert node.state().verdict == "rolled-back Asked"
    assert node.events()[-1] == "end"


def test_a_rollback_before_the_switch_only_ends_the_run(node: Scratch) -> None:
    """Nothing was changed, so nothing is undone."""
    before = node.tree()
    node.staged()
    assert node.verb("rollback", "DrainTimedOut").returncode == DONE
    assert node.tree() == before
    assert node.events()[-2:] == ["rollback", "end"]


def test_a_rollback_of_a_run_that_never_began_ends_it(node: Scratch) -> None:
    """A bundle without a journal is closed, too."""
    node.upload()
    assert node.verb("rollback", "Asked").returncode == DONE
    assert node.events() == ["rollback", "end"]


@pytest.mark.parametrize("step", ["stop-old", "start-new"])
def test_a_failing_undo_keeps_everything_and_can_be_run_again(node: Scratch, step: str) -> None:
    """The run is stuck, guarded and says where; once the cause is gone, a rollback ends it."""
    before = node.tree()
    node.switched()
    trap = node.root / f"fail-undo-{step}"
    trap.touch()
    assert node.verb("rollback", "Asked").returncode == FAILED
    assert node.state().journal.stuck
    assert node.events()[-1] == f"undo-failed {step}"
    assert node.recovery_enabled
    trap.unlink()
    assert node.verb("rollback", "Asked").returncode == DONE
    assert node.tree() == before
    assert nothing_left(node)


def test_an_undo_that_fails_once_is_run_again(node: Scratch) -> None:
    """What passes by itself needs no person; the second run of the same undo finishes it."""
    before = node.tree()
    undo = 'echo again >>"$WORLD/tries"; [ "$(wc -l <"$WORLD/tries")" -gt 1 ]'
    shaky = ScriptStep(name="shaky", summary="s", apply=":", undo=undo)
    node.switched((*STEPS, shaky))
    assert node.verb("rollback", "Asked").returncode == DONE
    assert "undo-failed shaky" not in node.events()
    assert node.tree() == before
    assert nothing_left(node)


def test_a_bundle_that_was_tampered_with_is_refused(node: Scratch) -> None:
    """One changed byte of one part: nothing runs."""
    node.upload()
    (node.run_folder / "steps/prepare/apply").write_text("exit 0 # changed\n")
    assert node.verb("stage", "1").returncode == FAILED
    assert node.events() == ["begin", "failed bundle"]
    assert not (node.root / "prepared").exists()


def test_a_bundle_changed_after_staging_is_refused_by_the_switch(node: Scratch) -> None:
    """The checksums are asked again before the first effect."""
    before = node.tree()
    node.staged()
    (node.run_folder / "steps/files/new.0").write_text("evil\n")
    assert node.verb("switch", "1", "180").returncode == FAILED
    assert node.tree() == before
    assert "armed" not in node.events()


def test_an_older_operator_is_fenced_off(node: Scratch) -> None:
    """A lower token is refused by every verb that takes one; the highest is remembered."""
    node.upload()
    assert node.verb("stage", "7").returncode == DONE
    for words in (("stage", "6"), ("switch", "6", "180"), ("confirm", "6"), ("reopen", "6", "X")):
        assert node.verb(*words).returncode == BUSY, words
    assert (node.base / "token").read_text() == "7\n"
    assert node.verb("switch", "8", "180").returncode == DONE


@pytest.mark.parametrize("token", ["", "x", "1;2", "-1"])
def test_nonsense_for_a_token_is_refused(node: Scratch, token: str) -> None:
    """Tokens are digits."""
    node.upload()
    assert node.verb("stage", token).returncode == USAGE


def test_two_runs_cannot_be_under_way_on_one_node(node: Scratch) -> None:
    """The second is refused with 76 until the first has ended."""
    node.staged()
    node.upload(run="run-2")
    done = node.verb("stage", "1", run="run-2")
    assert done.returncode == FOREIGN
    assert "run run-1 is unfinished" in done.stderr
    node.verb("rollback", "Asked")
    assert node.verb("stage", "1", run="run-2").returncode == DONE


def test_one_process_at_a_time(node: Scratch) -> None:
    """While a step runs, another stage is told to come again, for any run of the node."""
    waits = ScriptStep(
        name="waits", summary="s", stage=Stage.STAGE, keep="k",
        apply='for i in 1 2 3; do [ ! -e "$WORLD/go" ] || exit 0; sleep 1; done',
    )  # fmt: skip
    node.upload((waits, *STEPS))
    node.upload(run="run-2")
    with subprocess.Popen(
        node.argv("stage", "1"), env=node.environment(), stdout=subprocess.PIPE
    ) as first:
        while "started waits" not in node.events():
            pass
        assert node.verb("stage", "1").returncode == BUSY
        assert node.verb("stage", "1", run="run-2").returncode == BUSY
        (node.root / "go").touch()
        first.communicate(timeout=30)
    assert first.returncode == DONE


def test_verbs_can_be_asked_again(node: Scratch) -> None:
    """A caller that lost the answer repeats the question; nothing happens twice."""
    node.switched()
    before = node.events()
    assert node.verb("stage", "1").returncode == DONE
    assert node.verb("switch", "1", "180").returncode == DONE
    assert node.events() == before
    assert node.verb("confirm", "1").returncode == DONE
    after = node.events()
    assert node.verb("confirm", "1").returncode == DONE
    assert node.events() == after


def test_whoever_comes_second_learns_the_verdict(node: Scratch) -> None:
    """Exit code 77 and the verdict as it stands."""
    node.switched()
    node.verb("confirm", "1")
    late = node.verb("rollback", "DeadMan")
    assert late.returncode == LOST
    assert "verdict confirmed" in late.stdout
    assert node.service() == "new"


def test_a_confirm_after_the_dead_man_loses(node: Scratch) -> None:
    """The timer was first; the node stays on Docker."""
    node.switched()
    node.verb("rollback", "DeadMan")
    assert node.verb("confirm", "1").returncode == LOST
    assert node.service() == "old"


def test_nothing_is_confirmed_that_has_not_switched(node: Scratch) -> None:
    """A confirm before the last step is wrong use."""
    node.staged()
    assert node.verb("confirm", "1").returncode == USAGE


def test_a_confirmed_run_can_be_reopened(node: Scratch) -> None:
    """Days later: guarded, taken back exactly, with the old verdict kept beside the new one."""
    before = node.tree()
    node.switched()
    node.verb("confirm", "1")
    assert node.verb("reopen", "1", "RollbackRequested").returncode == DONE
    assert node.tree() == before
    assert node.service() == "old"
    assert node.state().verdict == "rolled-back RollbackRequested"
    assert (node.run_folder / "verdict.reopened").read_text() == "confirmed\n"
    assert nothing_left(node)


def test_show_answers_at_any_time(node: Scratch) -> None:
    """Clock, verdict, meta and journal, in a form that the Python side reads."""
    node.upload()
    state = node.state()
    assert state.meta == {"node": "scratch", "criSocket": None}
    assert state.now > 1_600_000_000
    assert not state.journal.entries


def test_unknown_verbs_are_wrong_use(node: Scratch) -> None:
    """Exit code 64 and the usage."""
    node.upload()
    done = node.verb("destroy")
    assert done.returncode == USAGE
    assert "usage" in done.stderr


def test_waiting_for_a_step_ends_with_it(node: Scratch) -> None:
    """The operator is back at work while the switch goes on, and before it has ended."""
    held = ScriptStep(
        name="held", summary="s", apply='until [ -e "$WORLD/go" ]; do sleep 0.05; done', keep="k"
    )
    node.upload((*STEPS, held))
    node.verb("stage", "1")
    node.detach()
    node.verb("switch", "1", "180")
    try:
        assert node.verb("wait", "60", "start-new").returncode == DONE
        assert "done start-new" in node.events()
        assert "switched" not in node.events()
    finally:
        (node.root / "go").touch()
    assert node.verb("wait", "60", "no-such-step").returncode == DONE
    assert node.events()[-1] == "switched"
