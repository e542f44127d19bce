"""A container that Kubernetes does not own: never stopped, whatever becomes of the node."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import operator_process as unshim
from tests.integration import observing
from tests.integration.observing import MARKS
from tests.lab import Lab

pytestmark = MARKS

NODE = "worker-2"


@pytest.fixture
def legacy(lab: Lab) -> Iterator[str]:
    """A plain `docker run` on the node; yields what tells one start of it from another."""
    lab.start_foreign(NODE)
    yield _started(lab)
    lab.node(NODE).exec("docker rm -f legacy", check=False)


def _started(lab: Lab) -> str:
    wanted = "'{{.Id}} {{.State.Pid}} {{.State.StartedAt}} {{.State.Running}}'"
    return lab.node(NODE).exec(f"docker inspect -f {wanted} legacy").stdout


@pytest.mark.usefixtures("operator")
def test_a_node_with_a_foreign_container_is_refused(lab: Lab, legacy: str) -> None:
    """Refused before anything is touched; the container has not noticed."""
    before = observing.see(lab, NODE)
    unshim.apply(lab, unshim.migration("refused", NODE))
    ended = unshim.finished(lab, "refused")
    assert (ended["phase"], ended["reason"]) == ("Refused", "Blocked"), ended["message"]
    assert "legacy" in ended["message"]
    observing.assert_same(before, observing.see(lab, NODE))
    run = observing.uid(lab, "refused")
    assert observing.journal(lab, NODE, run) == []
    assert _started(lab) == legacy


def test_with_docker_left_running_it_lives_through_migration_and_rollback(
    lab: Lab, operator: unshim.OperatorProcess, legacy: str
) -> None:
    """keepDocker: the node moves and comes back; the same process runs all the while."""
    before = observing.see(lab, NODE)
    unshim.apply(lab, unshim.migration("keeps", NODE, keepDocker=True))
    ended = unshim.finished(lab, "keeps")
    assert ended["phase"] == "Succeeded", ended["message"]
    assert _started(lab) == legacy
    observing.wait_serves(lab, NODE, "containerd://")
    assert lab.node(NODE).docker_k8s_containers() == []
    operator.stop()
    done = unshim.cli(lab, "rollback", NODE, "--delete-emptydir-data")
    assert done.returncode == 0, done.stdout + done.stderr
    observing.assert_same(before, observing.see(lab, NODE))
    assert _started(lab) == legacy
