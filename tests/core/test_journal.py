"""The journal's text, folded."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unshim.core.journal import CorruptJournal, Event, StepState, parse


def line(seq: int, event: str, **more: str) -> str:
    return json.dumps({"seq": seq, "at": 1000 + seq, "event": event, **more}) + "\n"


def test_the_last_word_on_a_step_is_its_state() -> None:
    """started leaves a step in doubt until done, failed or undone is written."""
    text = line(0, "begin") + line(1, "started", step="a") + line(2, "done", step="a")
    text += line(3, "started", step="b")
    assert parse(text).step_states == {"a": StepState.DONE, "b": StepState.IN_DOUBT}
    assert parse(text).current_step == "b"


def test_a_torn_last_line_is_not_part_of_the_journal() -> None:
    """Power may go while a line is written; what is before it counts."""
    whole = line(0, "begin") + line(1, "staged")
    assert parse(whole + '{"seq":2,"at":1,"ev') == parse(whole)


def test_a_bad_line_in_the_middle_is_corrupt_and_named() -> None:
    """Guessing past damage could repeat or forget an effect."""
    with pytest.raises(CorruptJournal, match="line 2"):
        parse(line(0, "begin") + "garbage\n" + line(2, "staged"))


def test_an_unknown_event_is_corrupt() -> None:
    """A newer runner's word must not be read as nothing."""
    with pytest.raises(CorruptJournal):
        parse(line(0, "teleported"))


@given(st.lists(st.sampled_from(list(Event))), st.integers(min_value=0, max_value=400))
def test_any_prefix_of_a_journal_folds(events: list[Event], cut: int) -> None:
    """Wherever the power goes, the journal reads as a prefix of what was written."""
    text = "".join(line(i, event.value, step="s") for i, event in enumerate(events))
    entries = parse(text[:cut]).entries
    assert [e.event for e in entries] == events[: len(entries)]
