"""The run's journal: append-only JSON lines on the node, folded here into the state of each step.

The runner (`node/runner/`) writes every line, fsynced before the effect it announces. A torn last
line (no newline) is not part of the journal; a bad line anywhere else is `CorruptJournal`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Event(StrEnum):
    """Every word the runner may write."""

    BEGIN = "begin"  # the bundle arrived and its checksums hold
    STARTED = "started"  # about to apply a step
    DONE = "done"
    SKIPPED = "skipped"  # the step's check held before we touched it
    FAILED = "failed"
    STAGED = "staged"  # every stage step is done or skipped
    ARMED = "armed"  # backups verified, recovery unit enabled, dead-man timer set
    SWITCHED = "switched"  # every switch step is done or skipped; waiting for a verdict
    ROLLBACK = "rollback"  # the decision to go back, with its reason
    UNDONE = "undone"
    UNDO_FAILED = "undo-failed"
    REOPENED = "reopened"  # a person asked to roll a confirmed run back
    CONFIRMED = "confirmed"
    END = "end"  # nothing more will happen to the node


class StepState(StrEnum):
    PENDING = "pending"
    IN_DOUBT = "in-doubt"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    UNDONE = "undone"
    UNDO_FAILED = "undo-failed"


_STATE_AFTER = {
    Event.STARTED: StepState.IN_DOUBT,
    Event.DONE: StepState.DONE,
    Event.SKIPPED: StepState.SKIPPED,
    Event.FAILED: StepState.FAILED,
    Event.UNDONE: StepState.UNDONE,
    Event.UNDO_FAILED: StepState.UNDO_FAILED,
}


class CorruptJournal(ValueError):
    """A complete line does not parse; the message gives its number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line. `at` is the node's clock in seconds since 1970; `detail` is bounded, safe text."""

    seq: int
    at: int
    event: Event
    step: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """The entries in order, with what they amount to."""

    entries: tuple[Entry, ...] = field(default=())

    def has(self, event: Event) -> bool:
        return any(entry.event is event for entry in self.entries)

    def last(self, event: Event) -> Entry | None:
        return next((e for e in reversed(self.entries) if e.event is event), None)

    @property
    def step_states(self) -> Mapping[str, StepState]:
        """Last known state of every step the journal names."""
        return {e.step: _STATE_AFTER[e.event] for e in self.entries if e.event in _STATE_AFTER}

    @property
    def current_step(self) -> str:
        """The step of the newest entry that names one."""
        return next((e.step for e in reversed(self.entries) if e.step), "")

    @property
    def ended(self) -> bool:
        return bool(self.entries) and self.entries[-1].event is Event.END

    @property
    def stuck(self) -> bool:
        """An undo failed and nothing has happened since."""
        return bool(self.entries) and self.entries[-1].event is Event.UNDO_FAILED


def parse(text: str) -> Journal:
    """Fold the journal's text. Raises CorruptJournal."""
    complete, _, _torn = text.rpartition("\n")
    lines = complete.split("\n") if complete else []
    return Journal(entries=tuple(_entry(number, line) for number, line in enumerate(lines, 1)))


def _entry(number: int, line: str) -> Entry:
    try:
        raw = json.loads(line)
        return Entry(
            seq=int(raw["seq"]),
            at=int(raw["at"]),
            event=Event(raw["event"]),
            step=str(raw.get("step", "")),
            detail=str(raw.get("detail", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise CorruptJournal(f"line {number} of the journal does not parse: {exc}") from exc
