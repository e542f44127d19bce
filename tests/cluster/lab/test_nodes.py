"""Nodes, Leases and Events; and the node's own side of the proof."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest

from tests.cluster.lab.objects import MARK, NODE, own_side
from tests.lab import Lab
from unshim.cluster import KubernetesCluster
from unshim.core import proof
from unshim.core.objects import STAMP_ANNOTATION, Stamp
from unshim.errors import Busy, NodeNotFound

pytestmark = MARK


def test_a_node_as_it_is(cluster: KubernetesCluster) -> None:
    """A real node's view: runtime, addresses, and a heartbeat from the Lease, seconds old."""
    node = cluster.node(NODE)
    assert node.runtime.startswith(("docker://", "containerd://"))
    assert node.addresses["Hostname"] == NODE
    assert node.heartbeat is not None
    assert datetime.now(UTC) - node.heartbeat < timedelta(seconds=60)
    with pytest.raises(NodeNotFound):
        cluster.node("nope")


def test_every_node(cluster: KubernetesCluster) -> None:
    """The list that the rules about quorum need, with the operator's own rights."""
    roles = {node.name: node.control_plane for node in cluster.nodes()}
    assert roles == {"cp-1": True, "worker-1": False, "worker-2": False}


def test_cordon_and_back(cluster: KubernetesCluster) -> None:
    """Cordon and uncordon leave a real Node as it was, but for its resourceVersion."""
    before = cluster.node(NODE)
    assert not before.unschedulable
    stamp = Stamp(migration="run-ct", at=datetime.now(UTC).replace(microsecond=0))
    cluster.cordon(NODE, stamp)
    during = cluster.node(NODE)
    assert cluster.uncordon(NODE, "another") is False
    assert cluster.uncordon(NODE, "run-ct") is True
    after = cluster.node(NODE)
    assert (during.unschedulable, during.stamp) == (True, stamp)
    assert (after.unschedulable, after.annotations) == (False, before.annotations)
    assert STAMP_ANNOTATION not in after.annotations


def test_annotations(cluster: KubernetesCluster) -> None:
    """Set, and removed again."""
    cluster.annotate(NODE, "unshim.dev/ct", "yes")
    assert cluster.node(NODE).annotations["unshim.dev/ct"] == "yes"
    cluster.annotate(NODE, "unshim.dev/ct", None)
    assert "unshim.dev/ct" not in cluster.node(NODE).annotations


def test_leases(cluster: KubernetesCluster) -> None:
    """A real Lease keeps a second operator off, and its token goes up."""
    name = f"ct-{os.getpid()}"
    first = cluster.acquire_lease(name, "a", 30)
    assert cluster.acquire_lease(name, "a", 30) == first
    with pytest.raises(Busy, match="worked on by a"):
        cluster.acquire_lease(name, "b", 30)
    cluster.release_lease(name, "a")
    assert cluster.acquire_lease(name, "b", 30) == first + 1
    cluster.release_lease(name, "b")


def test_events(cluster: KubernetesCluster, installed: Lab) -> None:
    """`kubectl describe node` shows what we said, counted."""
    node = cluster.node(NODE)
    for _ in range(2):
        cluster.event(node, "CanarySang", f"said by {os.getpid()}", warning=False)
    assert f"said by {os.getpid()}" in installed.kubectl("describe", "node", NODE)


def test_the_nodes_own_side_of_the_proof(lab: Lab, cluster: KubernetesCluster) -> None:
    """A healthy node is proven on the runtime it has, and not on the other one."""
    facts = own_side(lab, "")
    node = cluster.node(NODE)
    runtime = node.runtime.partition("://")[0]
    before = proof.Baseline(cgroup_driver="cgroupfs", allocatable=node.allocatable)
    reading = proof.Reading(
        node=node,
        pods=tuple(cluster.pods_on(NODE)),
        since=datetime(2026, 1, 1, tzinfo=UTC),
        runtime=runtime,
    )
    checks = (
        *proof.judge_cluster(before, reading),
        *proof.judge_node(before, reading, facts, None),
    )
    assert proof.summary(checks) == "every check holds"
    other = "docker" if runtime == "containerd" else "containerd"
    wrong = proof.Reading(node=node, pods=reading.pods, since=reading.since, runtime=other)
    assert not all(check.ok for check in proof.judge_node(before, wrong, facts, None))
