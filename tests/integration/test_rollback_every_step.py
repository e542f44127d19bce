"""A failure injected after each step of the playbook, and at the proof: the node is as it was."""

from __future__ import annotations

from typing import Any

import pytest

from tests import operator_process as unshim
from tests.integration import faults, observing
from tests.integration.observing import MARKS
from tests.lab import Lab

pytestmark = MARKS

STAGED, SWITCHED = faults.steps("stage"), faults.steps("switch")
# one node for all: once its pods have left, a drain takes no time; test_migrate drains a full one
NODE = "worker-2"


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("step", STAGED)
def test_a_stage_step_that_fails_leaves_the_node_serving(lab: Lab, step: str) -> None:
    """Before the switch a failure changes nothing; the node was never even cordoned."""
    ended = _fails(lab, playbook=f"fail-{step}")
    assert step in ended["message"]


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("step", SWITCHED)
def test_a_switch_step_that_fails_is_taken_back(lab: Lab, step: str) -> None:
    """The step does its work and fails: files, units, annotation and pods are as before."""
    ended = _fails(lab, playbook=f"fail-{step}")
    assert ended["reason"] == "StepFailed"


@pytest.mark.usefixtures("operator")
def test_a_proof_that_does_not_hold_is_taken_back(lab: Lab) -> None:
    """containerd serves, but no canary can run: Ready alone is not proof."""
    verify = {"canaryImage": unshim.mute_image(lab), "timeoutSeconds": 20}
    ended = _fails(lab, verify=verify)
    assert ended["reason"] == "ProofTimedOut"
    assert "canary" in ended["message"]


def _fails(lab: Lab, **spec: Any) -> dict[str, Any]:
    before = observing.see(lab, NODE)
    unshim.apply(lab, unshim.migration("fails", NODE, **spec))
    ended = unshim.finished(lab, "fails")
    assert ended["phase"] == "RolledBack", ended["message"]
    observing.assert_same(before, observing.see(lab, NODE))
    assert observing.serves(lab, NODE, "docker://"), "RolledBack says that it is proven"
    assert lab.node(NODE).cri_containers() == []
    assert observing.left_over(lab, NODE) == []
    return ended
