"""A plan's short form."""

from __future__ import annotations

from unshim.core.plan import MAX_DIFF, PlannedStep


def step(diff: str) -> PlannedStep:
    return PlannedStep(step="kubelet-flags", summary="s", state="would apply", diff=diff)


def test_a_status_holds_a_short_diff_whole_and_says_when_it_was_cut() -> None:
    """Nobody takes the beginning of a diff for all of it."""
    assert step("x" * MAX_DIFF).as_status()["diff"] == "x" * MAX_DIFF
    cut = step("x" * (MAX_DIFF + 1)).as_status()["diff"]
    assert cut == "x" * MAX_DIFF + "\n(cut: see the report)"
