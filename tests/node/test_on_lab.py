"""The shipped playbook under a real systemd: dead-man, reboots and power cuts."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.lab import Lab
from tests.node.on_lab import Transaction

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    # the lab's machines outlive the objects that started them
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    lab = Lab.up(name="runner")
    try:
        yield lab
    finally:
        lab.down()


@pytest.fixture
def run(lab: Lab) -> Transaction:
    """A staged run on worker-2. Each test leaves the node on Docker, as it was."""
    transaction = Transaction(lab, "worker-2", f"run-{time.time_ns()}")
    transaction.stage()
    return transaction


def test_the_dead_man_brings_the_node_back_alone(run: Transaction) -> None:
    """Nobody confirms: after the time limit the node is on Docker, byte for byte as before."""
    run.switch(dead_man=8)
    run.await_event("switched")
    run.await_ended("rolled-back DeadMan")
    run.assert_as_before()


@pytest.mark.parametrize(
    "instant",
    ["armed", "started stop-pod-containers", "started kubelet-flags", "started start-containerd",
     "started stop-docker", "switched"],
)  # fmt: skip
def test_a_power_cut_in_the_switch_ends_on_docker(run: Transaction, instant: str) -> None:
    """The node comes up by itself on the old runtime, whatever was half done."""
    run.switch()
    run.await_event(instant)
    run.node.power_cut()
    run.node.start()
    run.node.wait_booted()
    run.await_ended("rolled-back Rebooted")
    run.assert_as_before()


def test_a_reboot_before_the_verdict_ends_on_docker(run: Transaction) -> None:
    """A clean reboot is no confirmation."""
    run.switch()
    run.await_event("switched")
    run.node.reboot()
    run.await_ended("rolled-back Rebooted")
    run.assert_as_before()


def test_a_killed_switch_is_taken_back_by_the_dead_man(run: Transaction) -> None:
    """kill -9 of everything the transaction runs, in the middle."""
    run.switch(dead_man=10)
    run.await_event("started start-containerd")
    run.node.exec(f"systemctl kill -s KILL unshim-switch-{run.run}")
    run.await_ended("rolled-back DeadMan")
    run.assert_as_before()


def test_a_rollback_in_the_middle_of_the_switch(run: Transaction) -> None:
    """The running step is killed first, then everything is undone."""
    run.switch()
    run.await_event("started stop-pod-containers")
    run.verb("rollback", "Asked")
    run.await_ended("rolled-back Asked")
    run.assert_as_before()


@pytest.mark.parametrize(
    ("program", "what"), [("bridge", "network"), ("runc", "sandbox"), ("runc", "container")]
)
def test_a_pod_that_is_being_started_does_not_outlive_the_rollback(
    run: Transaction, program: str, what: str
) -> None:
    """The kubelet's last request is still under way in containerd when everything is undone."""
    with run.slow(program):
        run.switch()
        run.await_event("done start-kubelet")
        run.await_slow(what)
        run.verb("rollback", "Asked")
        run.await_ended("rolled-back Asked")
    run.assert_as_before()


def test_a_power_cut_in_the_rollback_is_taken_up_at_boot(run: Transaction) -> None:
    """An undo that was cut off goes on from its journal."""
    run.switch()
    run.await_event("switched")
    run.shell.run(f"(sh /var/lib/unshim/{run.run}/runner.sh rollback Asked) >/dev/null 2>&1 &",
                  timeout=10)  # fmt: skip
    run.await_event("undone start-kubelet")
    run.node.power_cut()
    run.node.start()
    run.node.wait_booted()
    run.await_ended("rolled-back Asked")
    run.assert_as_before()


def test_a_confirmed_node_stays_on_containerd_and_can_be_reopened(run: Transaction) -> None:
    """A reboot after the confirmation changes nothing; a later rollback is as exact as any."""
    run.switch()
    run.await_event("switched")
    assert run.verb("confirm", "1").verdict == "confirmed"
    run.node.reboot()
    active = run.node.exec("systemctl is-active docker docker.socket", check=False).stdout.split()
    assert active == ["inactive", "inactive"]
    assert run.node.exec("ls /etc/systemd/system | grep unshim", check=False).stdout == ""
    assert run.verb("reopen", "1", "RollbackRequested").verdict == "rolled-back RollbackRequested"
    run.assert_as_before()
