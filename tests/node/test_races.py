"""Two wills on one node: exactly one verdict, and the node is as that verdict says."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.node.scratch import DONE, LOST, STEPS, Scratch, nothing_left
from unshim.core.steps import ScriptStep
from unshim.node import RUNNER, script

RACES = 1000


def test_a_thousand_claims_have_a_thousand_single_winners(tmp_path: Path) -> None:
    """The verdict's creation is exclusive: one claim wins, the other knows that it lost."""
    functions = script(RUNNER).split("\nverb=${1:-}\n")[0]
    (tmp_path / "claims.sh").write_text(
        functions
        + """
        sync() { :; } # the disk plays no part in who wins
        one() { if claim "$1"; then echo "$1 won"; else echo "$1 lost"; fi >>"$here/said-$1"; }
        for i in $(seq "$1"); do
            rm -f "$here/verdict"
            (one confirmed) &
            (one rolled-back) &
            wait
            cat "$here/verdict" >>"$here/verdicts"
        done
        """
    )
    # two subshells of one shell share $$, so each race runs the claims in shells of their own
    text = (tmp_path / "claims.sh").read_text().replace("$here/verdict.$$", "$here/verdict.$1")
    (tmp_path / "claims.sh").write_text(text)
    subprocess.run(["sh", str(tmp_path / "claims.sh"), str(RACES)], check=True, timeout=300)
    said = {
        w: (tmp_path / f"said-{w}").read_text().split("\n") for w in ("confirmed", "rolled-back")
    }
    verdicts = (tmp_path / "verdicts").read_text().split()
    assert len(verdicts) == RACES
    for number, verdict in enumerate(verdicts):
        for word, lines in said.items():
            assert lines[number] == f"{word} {'won' if word == verdict else 'lost'}", number


def together(node: Scratch, *calls: tuple[str, ...]) -> list[int]:
    """Verbs at the same instant; their exit codes."""
    codes = [0] * len(calls)
    ready = threading.Barrier(len(calls))

    def ask(index: int) -> None:
        ready.wait()
        codes[index] = node.verb(*calls[index]).returncode

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return codes


@pytest.mark.parametrize("attempt", range(10))
def test_confirm_against_the_dead_man(tmp_path: Path, attempt: int) -> None:
    """Whoever wins, both are told the same verdict and the node is exactly that."""
    node = Scratch(tmp_path / f"n{attempt}")
    before = node.tree()
    node.switched()
    confirm, rollback = together(node, ("confirm", "1"), ("rollback", "DeadMan"))
    verdict = node.state().verdict
    if verdict == "confirmed":
        assert (confirm, rollback) == (DONE, LOST)
        assert node.service() == "new"
    else:
        assert verdict == "rolled-back DeadMan"
        assert confirm != DONE
        assert node.verb("rollback", "DeadMan").returncode == DONE
        assert node.tree() == before
    assert node.events()[-1] == "end"
    assert nothing_left(node)


def test_two_rollbacks_at_once(node: Scratch) -> None:
    """Operator and dead-man together: each step is undone once."""
    before = node.tree()
    node.switched()
    together(node, ("rollback", "Asked"), ("rollback", "DeadMan"))
    assert node.verb("rollback", "Asked").returncode == DONE
    assert node.tree() == before
    undone = [event for event in node.events() if event.startswith("undone")]
    assert len(undone) == len(set(undone)) == 4


def test_a_rollback_kills_the_step_that_runs(node: Scratch) -> None:
    """The dead-man does not wait for a hanging step, nor does the step go on afterwards."""
    before = node.tree()
    hangs = ScriptStep(
        name="hangs", summary="s", timeout=60, undo="true",
        apply='sleep 30; echo went-on >"$WORLD/etc/flags"',
    )  # fmt: skip
    node.upload((*STEPS, hangs))
    node.verb("stage", "1")
    node.detach()
    node.verb("switch", "1", "180")
    until = time.monotonic() + 30
    while "started hangs" not in node.events():
        assert time.monotonic() < until
    began = time.monotonic()
    assert node.verb("rollback", "DeadMan").returncode == DONE
    assert time.monotonic() - began < 10
    assert node.tree() == before
    assert node.state().verdict == "rolled-back DeadMan"


def test_an_orphaned_step_keeps_others_out(node: Scratch) -> None:
    """The shell of a stage dies, its step lives on: nobody works beside it."""
    orphan = ScriptStep(
        name="orphan", summary="s", keep="k", stage=STEPS[0].stage, timeout=60,
        apply='while [ ! -e "$WORLD/go" ]; do sleep 0.1; done',
    )  # fmt: skip
    node.upload((orphan, *STEPS))
    with subprocess.Popen(
        node.argv("stage", "1"), env=node.environment(), stdout=subprocess.DEVNULL
    ) as shell:
        while "started orphan" not in node.events():
            pass
        shell.kill()
    assert node.verb("stage", "1").returncode == 75
    (node.root / "go").touch()
    until = time.monotonic() + 20
    while node.verb("stage", "1").returncode == 75:
        assert time.monotonic() < until
    assert node.events()[-1] == "staged"


# -- torn journals, full disks, boots --------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 2, 30])
def test_a_torn_last_line_is_dropped_and_its_step_done_again(node: Scratch, cut: int) -> None:
    """The power went while the line was written: the run goes on from the line before."""
    before = node.tree()
    node.switched()
    journal = node.run_folder / "journal"
    journal.write_bytes(journal.read_bytes()[:-cut])
    assert node.state().journal.entries[-1].step == "start-new"
    node.boot()
    assert node.tree() == before
    assert node.events()[-1] == "end"


def test_a_tail_of_zeroes_is_dropped(node: Scratch) -> None:
    """What some file systems leave after a power cut."""
    node.staged()
    with (node.run_folder / "journal").open("ab") as journal:
        journal.write(b"\0" * 64)
    assert node.verb("switch", "1", "180").returncode == DONE
    assert node.events()[-1] == "switched"


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)]
    if subprocess.run(argv, check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount")
    return disk


def fill(disk: Path) -> None:
    with (disk / "full").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return


def test_a_full_disk_does_not_hold_up_the_way_back(small_disk: Path) -> None:
    """The switch kept room for the verdict, the journal and the old files."""
    try:
        node = Scratch(small_disk / "n")
        before = node.tree()
        node.switched()
        fill(small_disk)
        assert node.verb("rollback", "DeadMan").returncode == DONE
        assert node.tree() == before
        assert node.state().verdict == "rolled-back DeadMan"
        assert node.state().journal.ended
    finally:
        subprocess.run(["umount", "-l", str(small_disk)], check=True)


def test_nothing_begins_on_a_full_disk(small_disk: Path) -> None:
    """What cannot be announced does not happen."""
    try:
        node = Scratch(small_disk / "n")
        before = node.tree()
        node.staged()
        fill(small_disk)
        assert node.verb("switch", "1", "180").returncode != DONE
        assert node.tree() == before
        assert node.service() == "old"
        (small_disk / "full").unlink()
        assert node.verb("rollback", "StepFailed").returncode == DONE
        assert nothing_left(node)
    finally:
        subprocess.run(["umount", "-l", str(small_disk)], check=True)


def test_a_boot_leaves_a_run_that_is_only_staged_alone(node: Scratch) -> None:
    """Staging changed nothing, so a reboot decides nothing."""
    node.staged()
    node.boot()
    assert node.state().verdict == ""


def test_the_recovery_unit_does_nothing_on_a_running_system(node: Scratch) -> None:
    """Whoever asks for multi-user.target again does not roll a switch back."""
    node.switched()
    node.verb("recover")
    assert node.state().verdict == ""
    node.system("starting")
    node.verb("recover")
    assert node.state().verdict == "rolled-back Rebooted"


def test_undo_scripts_know_that_the_node_boots(node: Scratch) -> None:
    """At boot services must not be started and waited for: they wait for us."""
    told = ScriptStep(
        name="told", summary="s", apply="true", undo='printf "%s" "$UNSHIM_BOOTING" >"$WORLD/told"'
    )
    node.upload((*STEPS, told))
    node.verb("stage", "1")
    node.verb("switch", "1", "180")
    node.boot()
    assert (node.root / "told").read_text() == "1"


def test_a_confirmation_cut_off_by_the_power_is_finished_at_boot(node: Scratch) -> None:
    """The verdict stands before its line in the journal does."""
    node.switched()
    (node.run_folder / "verdict").write_text("confirmed\n")
    node.boot()
    assert node.events()[-2:] == ["confirmed", "end"]
    assert node.service() == "new"
    assert nothing_left(node)


def test_a_switch_that_systemd_does_not_start_is_taken_back(node: Scratch) -> None:
    """Armed, but the transaction's unit fails to start: no waiting for the dead-man."""
    before = node.tree()
    node.staged()
    (node.folder / "no-unshim-switch-run-1").touch()
    node.verb("switch", "1", "180")
    assert node.state().verdict == "rolled-back SwitchNotStarted"
    assert node.tree() == before
    assert nothing_left(node)


def test_without_a_dead_man_there_is_no_switch(node: Scratch) -> None:
    """The timer that cannot be set stops the run before its first effect."""
    before = node.tree()
    node.staged()
    (node.folder / "no-unshim-deadman-run-1").touch()
    assert node.verb("switch", "1", "180").returncode != DONE
    assert node.tree() == before
    assert "armed" not in node.events()
