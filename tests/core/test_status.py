"""Progress -> status: Kubernetes API conventions, and nothing that grows without bound."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from unshim.core import status
from unshim.core.decide import Result
from unshim.core.status import Progress

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def progress(**changes: object) -> Progress:
    return Progress(**{"run": "u", "node": "worker-1", "phase": "Draining", **changes})  # type: ignore[arg-type]


def condition(rendered: dict[str, object], kind: str) -> dict[str, object]:
    found = rendered["conditions"]
    assert isinstance(found, list)
    return next(c for c in found if c["type"] == kind)


def test_a_condition_keeps_its_transition_time() -> None:
    """lastTransitionTime moves only when the status of the condition does."""
    first = status.render(progress(), {}, 1, NOW)
    second = status.render(progress(), first, 1, NOW + timedelta(minutes=1))
    ended = progress(phase="Succeeded", result=Result.SUCCEEDED)
    third = status.render(ended, second, 1, NOW + timedelta(minutes=2))
    times = [condition(s, "Succeeded")["lastTransitionTime"] for s in (first, second, third)]
    assert times == ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-01T00:02:00Z"]


def test_succeeded_is_unknown_until_the_end() -> None:
    """`kubectl wait --for=condition=Succeeded` must not fire early."""
    rendered = status.render(progress(), {}, 1, NOW)
    assert condition(rendered, "Succeeded")["status"] == "Unknown"


def test_a_rollback_is_not_a_success() -> None:
    """RolledBack is safe, and Succeeded is False with the reason."""
    back = progress(phase="RolledBack", result=Result.ROLLED_BACK, reason="ProofTimedOut")
    rendered = status.render(back, {}, 1, NOW)
    assert condition(rendered, "Succeeded")["status"] == "False"
    assert condition(rendered, "Succeeded")["reason"] == "ProofTimedOut"


def test_a_status_stays_small() -> None:
    """Thousands of findings and a long message still fit far below etcd's limit."""
    many = tuple({"rule": "R", "message": "x" * 200} for _ in range(5000))
    big = progress(findings=many, message="y" * 100_000)
    assert len(json.dumps(status.render(big, {}, 1, NOW))) < 100_000


def test_what_is_left_out_is_counted() -> None:
    """A reader sees that the list is not the whole, and by how much; a whole list says nothing."""
    many = tuple({"rule": str(i), "message": "m"} for i in range(62))
    rendered = status.render(progress(findings=many), {}, 1, NOW)
    assert [f["rule"] for f in rendered["findings"]] == [str(i) for i in range(50)]
    assert rendered["findingsLeftOut"] == 12
    assert status.render(progress(findings=many[:50]), {}, 1, NOW)["findingsLeftOut"] is None


def test_one_huge_finding_stays_small() -> None:
    """A node with a thousand foreign containers names them all; a status does not."""
    huge = progress(findings=({"rule": "r", "message": "x" * 100_000},) * 50)
    assert len(json.dumps(status.render(huge, {}, 1, NOW))) < 100_000


def test_an_unchanged_status_is_not_written() -> None:
    """Every write wakes watchers; only what a person can see is worth one."""
    first = status.render(progress(), {}, 1, NOW)
    second = status.render(progress(), first, 1, NOW + timedelta(minutes=1))
    assert not status.differs(second, first)
    assert status.differs(status.render(progress(message="2 pods left"), first, 1, NOW), first)
