"""What the runner says, read back."""

from __future__ import annotations

import base64
import json

import pytest

from unshim.core import runs
from unshim.core.facts import NodeRun
from unshim.core.journal import CorruptJournal, Event


def line(seq: int, event: str, at: int = 100) -> str:
    return json.dumps({"seq": seq, "at": at, "event": event}) + "\n"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


JOURNAL = line(0, "begin", at=1700000000) + line(1, "staged")


def test_show_is_read() -> None:
    """Clock, verdict, meta and journal."""
    text = (
        "now 1700000123\nverdict rolled-back DeadMan\n"
        f"meta {encoded(json.dumps({'node': 'n'}))}\njournal {encoded(JOURNAL)}\n"
    )
    state = runs.parse_show(text)
    assert (state.now, state.verdict, state.meta) == (
        1700000123, "rolled-back DeadMan", {"node": "n"},
    )  # fmt: skip
    assert [entry.event for entry in state.journal.entries] == [Event.BEGIN, Event.STAGED]


@pytest.mark.parametrize("text", ["", "now 5\n", "now 5\nverdict \nmeta \njournal \n"])
def test_a_run_that_is_not_there_is_empty(text: str) -> None:
    """No journal, no verdict: nothing began."""
    state = runs.parse_show(text)
    assert (state.verdict, state.meta, state.journal.entries) == ("", {}, ())


def test_a_banner_around_the_answer_is_passed_over() -> None:
    """Login shells print things."""
    text = f"Welcome!\n\nnow 7\nverdict confirmed\njournal {encoded(JOURNAL)}\nBye\n"
    assert runs.parse_show(text).verdict == "confirmed"


def test_a_torn_last_line_is_not_part_of_the_journal() -> None:
    """Power went while it was written."""
    state = runs.parse_show(f"journal {encoded(JOURNAL + '{')}\n")
    assert len(state.journal.entries) == 2


def test_a_corrupt_journal_is_said() -> None:
    """A bad line anywhere else is never guessed at."""
    with pytest.raises(CorruptJournal, match="line 1"):
        runs.parse_show(f"journal {encoded('garbage' + chr(10) + JOURNAL)}\n")


@pytest.mark.parametrize("meta", ["not json", "[1]", "{"])
def test_bad_meta_is_no_meta(meta: str) -> None:
    """Meta is ours and opaque to the node; a damaged one must not hide the journal."""
    state = runs.parse_show(f"meta {encoded(meta)}\njournal {encoded(JOURNAL)}\n")
    assert state.meta == {}
    assert len(state.journal.entries) == 2


def test_runs_in_the_facts_read_alike() -> None:
    """The same run, found while gathering facts."""
    found = NodeRun(
        uid="r1", journal=JOURNAL + line(2, "end"), verdict="confirmed\n", meta='{"node":"n"}'
    )
    assert runs.state_of(found).verdict == "confirmed"
    assert runs.finished(found)
    assert runs.started_at(found) == 1700000000


def test_a_run_without_an_end_is_unfinished() -> None:
    """Also when it never began."""
    assert not runs.finished(NodeRun(uid="r1", journal=JOURNAL, verdict=""))
    assert not runs.finished(NodeRun(uid="r1", journal="", verdict=""))
    assert runs.started_at(NodeRun(uid="r1", journal="", verdict="")) == 0
