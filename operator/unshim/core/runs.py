"""What the runner's `show` prints -> RunState, and the same for runs that the facts hold."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from unshim.core import journal
from unshim.core.facts import NodeRun
from unshim.core.journal import Event
from unshim.core.objects import RunState


def parse_show(text: str) -> RunState:
    """Fold the runner's answer. A node that has no such run answers with its clock alone.

    Raises CorruptJournal.
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        found[key] = value.strip()
    return RunState(
        journal=journal.parse(_decoded(found.get("journal", ""))),
        verdict=found.get("verdict", ""),
        meta=_meta(_decoded(found.get("meta", ""))),
        now=int(found["now"]) if found.get("now", "").isdigit() else 0,
    )


def state_of(run: NodeRun) -> RunState:
    """A run as the facts hold it."""
    return RunState(
        journal=journal.parse(run.journal), verdict=run.verdict.strip(), meta=_meta(run.meta)
    )


def finished(run: NodeRun) -> bool:
    """Nothing more will happen to the node in this run."""
    return state_of(run).journal.ended


def started_at(run: NodeRun) -> int:
    """Seconds since 1970 on the node, 0 when the run never began."""
    begun = state_of(run).journal.last(Event.BEGIN)
    return begun.at if begun else 0


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


def _meta(text: str) -> dict[str, Any]:
    try:
        raw = json.loads(text) if text else {}
    except ValueError:
        return {}
    return raw if isinstance(raw, dict) else {}
