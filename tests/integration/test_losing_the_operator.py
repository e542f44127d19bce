"""SIGKILL at each phase, a blocked SSH port, reboots and power cuts in the middle of the switch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests import operator_process as unshim
from tests.integration import observing
from tests.integration.observing import MARKS, Seen
from tests.lab import Lab

pytestmark = MARKS

NODE = "worker-2"
ALONE_SECONDS = 240  # the promise: on Docker and Ready again, with nobody's help


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("dead-60", {"deadManSeconds": 60, "verify": {"timeoutSeconds": 30}}),
        pytest.param("dead-180", {}, marks=pytest.mark.slow),
    ],
)
def test_the_node_comes_back_alone(
    lab: Lab, operator_log: Path, name: str, spec: dict[str, Any]
) -> None:
    """Operator killed and SSH blocked right after the switch began: Docker again within 240 s."""
    before = observing.see(lab, NODE)
    node = lab.node(NODE)
    with unshim.running(lab, operator_log) as operator:
        unshim.apply(lab, unshim.migration(name, NODE, **spec))
        observing.wait_event(lab, NODE, _run(lab, name), "armed")
        operator.kill()
        node.block_ssh()
    try:
        began = time.monotonic()
        observing.wait_event(lab, NODE, _run(lab, name), "end", timeout=ALONE_SECONDS)
        left = ALONE_SECONDS - (time.monotonic() - began)
        observing.wait_serves(lab, NODE, "docker://", observing.now(), timeout=left)
    finally:
        node.unblock_ssh()
    with unshim.running(lab, operator_log):
        ended = unshim.finished(lab, name)
    assert (ended["phase"], ended["reason"]) == ("RolledBack", "DeadMan"), ended["message"]
    _assert_as_found(lab, before)


@pytest.mark.parametrize("step", ["kubelet-flags", "start-kubelet"])
@pytest.mark.parametrize("how", ["reboot", "power-cut"])
def test_a_node_that_goes_down_in_its_switch_comes_up_on_docker(
    lab: Lab, operator_log: Path, playbooks: Path, step: str, how: str
) -> None:
    """The recovery unit takes the switch back at boot; the operator then proves it."""
    before = observing.see(lab, NODE)
    with unshim.running(lab, operator_log, UNSHIM_PLAYBOOK_DIR=str(playbooks)):
        unshim.apply(lab, unshim.migration("down", NODE, playbook=f"pause-{step}"))
        observing.wait_event(lab, NODE, _run(lab, "down"), "started pause")
        _goes_down(lab, how)
        since = observing.now()
        ended = unshim.finished(lab, "down")
    assert (ended["phase"], ended["reason"]) == ("RolledBack", "Rebooted"), ended["message"]
    observing.wait_serves(lab, NODE, "docker://", since)
    _assert_as_found(lab, before)


def _goes_down(lab: Lab, how: str) -> None:
    node = lab.node(NODE)
    if how == "reboot":
        node.reboot()
        return
    node.power_cut()
    node.start()
    node.wait_booted()


RUNTIMES = {"Succeeded": "containerd://", "RolledBack": "docker://"}
PHASES = ("Auditing", "Staging", "Cordoned", "Draining", "Switching", "Verifying", "Confirmed")


@pytest.mark.parametrize("phase", PHASES)
def test_an_operator_killed_in_any_phase_is_succeeded_by_the_next(
    lab: Lab, operator_log: Path, phase: str
) -> None:
    """The next one ends the run one way or the other, and status and node say the same."""
    before = observing.see(lab, NODE)
    with unshim.running(lab, operator_log) as operator:
        unshim.apply(lab, unshim.migration("killed", NODE))
        observing.wait_phase(lab, "killed", phase)
        operator.kill()
    observing.expire_lease(lab, NODE)
    with unshim.running(lab, operator_log):
        ended = unshim.finished(lab, "killed")
    assert ended["phase"] in RUNTIMES, ended["message"]
    assert observing.schedulable(lab, NODE)
    observing.wait_serves(lab, NODE, RUNTIMES[ended["phase"]])
    words = [entry["event"] for entry in observing.journal(lab, NODE, _run(lab, "killed"))]
    assert words[-1] == "end"
    assert words.count("confirmed") == (1 if ended["phase"] == "Succeeded" else 0)
    _back_on_docker(lab)
    _assert_as_found(lab, before)


def test_an_operator_killed_on_the_way_back_is_succeeded_by_the_next(
    lab: Lab, operator_log: Path, playbooks: Path
) -> None:
    """The node undoes its steps with nobody there; the next operator proves and uncordons it."""
    before = observing.see(lab, NODE)
    books = {"UNSHIM_PLAYBOOK_DIR": str(playbooks)}
    with unshim.running(lab, operator_log, **books) as operator:
        unshim.apply(lab, unshim.migration("back", NODE, playbook="fail-start-kubelet"))
        observing.wait_phase(lab, "back", "RollingBack")
        operator.kill()
    observing.expire_lease(lab, NODE)
    with unshim.running(lab, operator_log, **books):
        ended = unshim.finished(lab, "back")
    assert (ended["phase"], ended["reason"]) == ("RolledBack", "StepFailed"), ended["message"]
    assert observing.schedulable(lab, NODE)
    _assert_as_found(lab, before)


def test_a_takeover_waits_for_the_dead_operators_lease(lab: Lab, operator_log: Path) -> None:
    """Nobody helps: once the Lease runs out the next operator goes on, before the dead-man."""
    with unshim.running(lab, operator_log) as operator:
        unshim.apply(lab, unshim.migration("waits", NODE))
        observing.wait_phase(lab, "waits", "Switching")
        operator.kill()
    with unshim.running(lab, operator_log):
        ended = unshim.finished(lab, "waits")
    assert ended["phase"] == "Succeeded", ended["message"]
    _back_on_docker(lab)


def _back_on_docker(lab: Lab) -> None:
    """Whatever the end was: asked to go back, a run that is back already says so."""
    done = unshim.cli(lab, "rollback", NODE, "--delete-emptydir-data")
    assert done.returncode == 0, done.stdout + done.stderr


def _run(lab: Lab, name: str) -> str:
    return observing.uid(lab, name)


def _assert_as_found(lab: Lab, before: Seen) -> None:
    observing.assert_same(before, observing.see(lab, NODE))
    observing.wait_serves(lab, NODE, "docker://")
    assert lab.node(NODE).cri_containers() == []
    assert observing.left_over(lab, NODE) == []
