"""A drain that cannot end: the status says who holds it up, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests import operator_process as unshim
from tests.integration import observing
from tests.integration.observing import MARKS
from tests.lab import Lab

pytestmark = MARKS

NODE = "worker-2"


@pytest.fixture
def stubborn(lab: Lab) -> Iterator[None]:
    """The budget of `web` allows no disruption, and `web` has a pod on the node."""
    observing.bring_web(lab, NODE)
    _budget(lab, 2)
    yield
    _budget(lab, 1)


def _budget(lab: Lab, available: int) -> None:
    patch = f'{{"spec":{{"minAvailable":{available}}}}}'
    lab.kubectl("patch", "pdb", "web", "-n", "apps", "--type", "merge", "-p", patch)
    allowed = 2 - available

    def settled() -> bool:
        status = lab.get("pdb", "web", "-n", "apps").get("status", {})
        return bool(status.get("disruptionsAllowed") == allowed)

    lab.wait(settled, 60, f"the budget of web to allow {allowed} disruptions")


@pytest.mark.usefixtures("operator", "stubborn")
def test_a_drain_that_times_out_leaves_the_node_as_it_was(lab: Lab) -> None:
    """Pod and budget are named while it waits; then uncordoned, and no file was changed."""
    before, ended, seen = _times_out(lab)
    assert ["web" in name for name in seen["blockedBy"]] == [True]
    assert "apps/web-" in seen["message"]
    observing.assert_same(before, observing.see(lab, NODE))
    events = [e["event"] for e in observing.journal(lab, NODE, ended["run"])]
    assert "armed" not in events
    observing.wait_serves(lab, NODE, "docker://")


@pytest.mark.usefixtures("operator", "stubborn")
def test_a_cordon_that_was_found_stays(lab: Lab) -> None:
    """Somebody else's cordon is theirs: it is there afterwards, without our stamp."""
    lab.kubectl("cordon", NODE)
    try:
        before, _, _ = _times_out(lab)
        assert before.unschedulable
        observing.assert_same(before, observing.see(lab, NODE))
    finally:
        lab.kubectl("uncordon", NODE)


def _times_out(lab: Lab) -> tuple[observing.Seen, dict[str, Any], dict[str, Any]]:
    before = observing.see(lab, NODE)
    seen: dict[str, Any] = {"blockedBy": [], "message": ""}

    def look(status: dict[str, Any]) -> None:
        drain = status.get("drain") or {}
        if status.get("phase") == "Draining" and drain.get("blockedBy"):
            seen.update(blockedBy=drain["blockedBy"], message=status["message"])

    drain = {"timeoutSeconds": 8}
    unshim.apply(lab, unshim.migration("stubborn", NODE, drain=drain))
    ended = unshim.finished(lab, "stubborn", seen=look)
    assert (ended["phase"], ended["reason"]) == ("RolledBack", "DrainTimedOut"), ended["message"]
    return before, ended, seen
