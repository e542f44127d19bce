"""Nodes: the view, and the stamped cordon under every race."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tests.cluster.api import Fault, Server
from tests.cluster.objects import LEASE, NODE, node
from unshim.cluster import KubernetesCluster
from unshim.core.objects import STAMP_ANNOTATION, Stamp
from unshim.errors import ClusterUnavailable, NodeNotFound

STAMP = Stamp(migration="run-1", at=datetime(2026, 1, 1, 12, 0, tzinfo=UTC))


def test_view(server: Server, cluster: KubernetesCluster) -> None:
    """The heartbeat is the newest of condition and Lease; the first address of a type counts."""
    server.put(NODE, node(taints=[{"key": "a", "value": "b", "effect": "NoSchedule"}]))
    server.put(LEASE, {"spec": {"renewTime": "2026-01-01T00:00:20.123456Z"}})
    seen = cluster.node("worker-1")
    assert seen.heartbeat == datetime(2026, 1, 1, 0, 0, 20, 123456, tzinfo=UTC)
    assert seen.addresses == {"InternalIP": "10.0.0.7", "Hostname": "worker-1"}
    assert seen.ready
    assert seen.runtime == "docker://20.10.24"
    assert seen.taints == ("a=b:NoSchedule",)


@pytest.mark.parametrize("status", [404, 403])
def test_heartbeat_without_lease(server: Server, cluster: KubernetesCluster, status: int) -> None:
    """Without the Lease, or without the right to read it, the condition's heartbeat counts."""
    server.put(NODE, node())
    server.faults.append(Fault("GET", "kube-node-lease", status))
    assert cluster.node("worker-1").heartbeat == datetime(2026, 1, 1, 0, 0, 10, tzinfo=UTC)


def test_every_node_at_once(server: Server, cluster: KubernetesCluster) -> None:
    """One list, no Lease of any node: who asks for all wants to know which are Ready."""
    server.put(NODE, node(providerID="aws:///a/i-1"))
    ill = node()
    ill["metadata"] = {"name": "worker-2"}
    ill["status"]["conditions"][0]["status"] = "Unknown"
    server.put(NODE.replace("worker-1", "worker-2"), ill)
    seen = {n.name: (n.ready, n.provider_id) for n in cluster.nodes()}
    assert seen == {"worker-1": (True, "aws:///a/i-1"), "worker-2": (False, "")}
    assert server.count("GET", "leases") == 0


def test_unknown_node(cluster: KubernetesCluster) -> None:
    """A node that does not exist is refused by name."""
    with pytest.raises(NodeNotFound, match="no node named nope"):
        cluster.node("nope")


def test_cordon_is_one_patch_with_its_stamp(server: Server, cluster: KubernetesCluster) -> None:
    """There is no instant at which the node is cordoned by us and does not say so."""
    server.put(NODE, node())
    cluster.cordon("worker-1", STAMP)
    assert server.count("PATCH", NODE) == 1
    body = server.objects[NODE]
    assert body["spec"]["unschedulable"] is True
    assert json.loads(body["metadata"]["annotations"][STAMP_ANNOTATION]) == {
        "migration": "run-1",
        "at": "2026-01-01T12:00:00Z",
    }
    assert cluster.node("worker-1").stamp == STAMP


def test_cordon_of_somebody_else_is_left_as_found(
    server: Server, cluster: KubernetesCluster
) -> None:
    """A node that is cordoned already gets no stamp of ours, so we will never uncordon it."""
    server.put(NODE, node(unschedulable=True))
    cluster.cordon("worker-1", STAMP)
    assert server.count("PATCH", NODE) == 0
    assert not cluster.uncordon("worker-1", "run-1")
    assert server.objects[NODE]["spec"]["unschedulable"] is True


def test_cordon_race_is_seen(server: Server, cluster: KubernetesCluster) -> None:
    """Somebody cordons between our look and our patch: theirs stands, without our stamp."""
    server.put(NODE, node())

    class Racing(list[tuple[str, str, dict[str, object]]]):
        def append(self, request: tuple[str, str, dict[str, object]]) -> None:
            super().append(request)
            if request[0] == "PATCH" and len(self) < 3:
                server.put(NODE, node(unschedulable=True))

    server.requests = Racing()
    cluster.cordon("worker-1", STAMP)
    assert STAMP_ANNOTATION not in server.objects[NODE]["metadata"]["annotations"]


def test_cordon_whose_answer_was_lost(server: Server, cluster: KubernetesCluster) -> None:
    """The patch took effect, its answer was lost: the repeat conflicts, and the cordon stands."""
    server.put(NODE, node())
    server.faults.append(Fault("PATCH", NODE, after=True))
    cluster.cordon("worker-1", STAMP)
    assert cluster.node("worker-1").stamp == STAMP


def test_cordon_that_does_not_stick_is_repeated(server: Server, cluster: KubernetesCluster) -> None:
    """A success is believed only after the node was read again."""
    server.put(NODE, node())
    server.faults.append(Fault("PATCH", NODE, 200, body=node(unschedulable=True)))
    cluster.cordon("worker-1", STAMP)
    assert cluster.node("worker-1").stamp == STAMP
    assert server.count("PATCH", NODE) == 2


def test_uncordon_restores_exactly(server: Server, cluster: KubernetesCluster) -> None:
    """After cordon and uncordon the node's spec and annotations are what they were."""
    before = node()
    server.put(NODE, node())
    cluster.cordon("worker-1", STAMP)
    assert cluster.uncordon("worker-1", "run-1")
    assert server.objects[NODE]["spec"] == before["spec"]
    assert server.objects[NODE]["metadata"]["annotations"] == before["metadata"]["annotations"]


@pytest.mark.parametrize("stamp", ['{"migration":"other","at":"2026-01-01T12:00:00Z"}', "garbage"])
def test_uncordon_touches_no_other_stamp(
    server: Server, cluster: KubernetesCluster, stamp: str
) -> None:
    """A stamp of another run, or one that cannot be read, is not ours."""
    body = node(unschedulable=True)
    body["metadata"]["annotations"][STAMP_ANNOTATION] = stamp
    server.put(NODE, body)
    assert not cluster.uncordon("worker-1", "run-1")
    assert server.objects[NODE]["spec"]["unschedulable"] is True


def test_conflicts_are_retried_and_end(server: Server, cluster: KubernetesCluster) -> None:
    """Heartbeats make conflicts: some are survived, an endless row of them is an error."""
    server.put(NODE, node())
    server.faults += [Fault("PATCH", NODE, 409)] * 3
    cluster.cordon("worker-1", STAMP)
    server.faults += [Fault("PATCH", NODE, 409)] * 6
    with pytest.raises(ClusterUnavailable, match="could not uncordon"):
        cluster.uncordon("worker-1", "run-1")
    assert server.objects[NODE]["spec"]["unschedulable"] is True


def test_annotate_sets_and_removes(server: Server, cluster: KubernetesCluster) -> None:
    """None removes an annotation; others stay."""
    server.put(NODE, node())
    cluster.annotate("worker-1", "cri", "unix:///x")
    assert server.objects[NODE]["metadata"]["annotations"] == {"kept": "yes", "cri": "unix:///x"}
    cluster.annotate("worker-1", "cri", None)
    assert server.objects[NODE]["metadata"]["annotations"] == {"kept": "yes"}
