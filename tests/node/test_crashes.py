"""kill -9 at every instant: whatever was half done, the node ends old or new, never between."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.node.scratch import DONE, NEW, Scratch, nothing_left

WATCHED = ("sync", "mv", "ln", "rm", "cp", "mkdir", "rmdir", "truncate", "systemctl", "systemd-run")


class Doomed(Scratch):
    """A scratch node whose processes all die at one call of one command."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.traps = folder / "traps"
        self.traps.mkdir()
        for name in WATCHED:
            (self.traps / name).symlink_to(self.bin / "crash")

    def verb_until(self, crash: str, verb: str, *args: str) -> int:
        """One verb in a session of its own; its number of calls is returned."""
        (self.folder / "calls").write_text("0")
        more = {"CRASH": crash, "UNSHIM_PATH": f"{self.traps}:{self.bin}:/usr/sbin:/usr/bin"}
        script = 'echo $$ >"$SCRATCH/session"; exec "$@"'
        subprocess.run(
            ["setsid", "-w", "sh", "-c", script, "sh", *self.argv(verb, *args)],
            env=self.environment(**more), capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        return int((self.folder / "calls").read_text() or 0)


def prepared(folder: Path, verb: str) -> Doomed:
    node = Doomed(folder)
    if verb == "stage":
        node.upload()
    elif verb == "switch":
        node.staged()
    elif verb in ("confirm", "rollback"):
        node.switched()
    elif verb == "reopen":
        node.switched()
        node.verb("confirm", "1")
    return node


ARGUMENTS = {"stage": ("1",), "switch": ("1", "180"), "confirm": ("1",), "rollback": ("Asked",),
             "reopen": ("1", "Asked")}  # fmt: skip

#: Everything, both ways, when asked for (some ten minutes); else each call once, ways alternating.
EXHAUSTIVE = bool(os.environ.get("UNSHIM_EXHAUSTIVE"))
SIDES = ("before", "after") if EXHAUSTIVE else ("before",)
THEN = (("reboot", "ask"),) * 2 if EXHAUSTIVE else (("reboot",), ("ask",))

Tree = Mapping[str, tuple[str, int, int, str]]


def ends(folder: Path, verb: str, side: str, call: int, then: str) -> str:
    """Crash there, then reboot or ask again, and say what is wrong with the end; empty is good."""
    name = f"{side}-{call}-{then}"
    node = prepared(folder / name, verb)
    before = Scratch(folder / f"{name}-fresh").tree()
    node.verb_until(f"{side}-{call}", verb, *ARGUMENTS[verb])
    if then == "reboot":
        node.boot()
    if node.state().verdict != "confirmed":
        node.verb("rollback", "Asked")
    elif verb == "reopen":
        node.verb("reopen", "1", "Asked")
    else:
        node.verb("confirm", "1")
    return wrong(node, before, verb)


def wrong(node: Scratch, before: Tree, verb: str) -> str:
    state = node.state()
    confirmed = state.verdict == "confirmed"
    if confirmed and verb != "confirm":
        return f"confirmed by {verb}"
    new = {path: node.tree().get(path, ("", 0, 0, ""))[3] for path in NEW} == NEW
    as_told = new and node.service() == "new" if confirmed else node.tree() == before
    if not as_told or (not confirmed and node.service() != "old"):
        return f"neither old nor new: {node.tree()} {node.service()} {node.events()}"
    if not state.journal.ended:
        return f"not ended: {node.events()}"
    return "" if nothing_left(node) else f"left behind: {node.events()}"


@pytest.mark.parametrize("verb", list(ARGUMENTS))
def test_a_crash_at_every_call(tmp_path: Path, verb: str) -> None:
    """At every durable effect of every verb: first a crash, then a boot, or the question again."""
    calls = prepared(tmp_path / "count", verb).verb_until("never", verb, *ARGUMENTS[verb])
    assert calls > 3
    plans = [(side, n, then) for n in range(1, calls + 1) for side in SIDES for then in THEN[n % 2]]
    with ThreadPoolExecutor(3) as pool:
        found = pool.map(lambda plan: (plan, ends(tmp_path, verb, *plan)), plans)
        bad = [f"{plan}: {said}" for plan, said in found if said]
    assert not bad, "\n".join([f"{len(bad)} of {len(plans)}", *bad[:10]])


def test_the_trap_kills(tmp_path: Path) -> None:
    """The crash is real: nothing happens after it."""
    node = prepared(tmp_path / "n", "switch")
    node.verb_until("before-1", "switch", "1", "180")
    assert node.events() == ["begin", "started prepare", "done prepare", "staged"]
    assert node.verb("switch", "1", "180").returncode == DONE
