"""The node's Lease: one holder, and a token that only goes up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.cluster.api import Fault, Server, client
from tests.cluster.objects import HOLD
from unshim.cluster import KubernetesCluster
from unshim.errors import Busy, ClusterUnavailable


def test_acquire_renew_release(server: Server, cluster: KubernetesCluster) -> None:
    """Renewing keeps the token; a later holder's is higher; release keeps the object."""
    first = cluster.acquire_lease("worker-1", "a", 60)
    assert cluster.acquire_lease("worker-1", "a", 60) == first
    cluster.release_lease("worker-1", "a")
    assert server.objects[HOLD]["spec"]["holderIdentity"] == ""
    assert cluster.acquire_lease("worker-1", "b", 60) == first + 1


def test_busy_names_the_holder(cluster: KubernetesCluster) -> None:
    """Two operators never work on one node, and the second is told who is first."""
    cluster.acquire_lease("worker-1", "first", 60)
    with pytest.raises(Busy, match="worked on by first, which holds Lease kube-system/unshim-work"):
        cluster.acquire_lease("worker-1", "second", 60)


def test_release_of_another_holder_changes_nothing(
    server: Server, cluster: KubernetesCluster
) -> None:
    """Only the holder can give its Lease up."""
    cluster.acquire_lease("worker-1", "a", 60)
    cluster.release_lease("worker-1", "b")
    assert server.objects[HOLD]["spec"]["holderIdentity"] == "a"


def expire(server: Server) -> None:
    past = datetime.now(UTC) - timedelta(seconds=61)
    server.objects[HOLD]["spec"]["renewTime"] = past.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_an_expired_lease_is_taken_over(server: Server, cluster: KubernetesCluster) -> None:
    """A dead operator's node is free after the Lease's time, under a higher token."""
    first = cluster.acquire_lease("worker-1", "dead", 60)
    expire(server)
    assert cluster.acquire_lease("worker-1", "next", 60) == first + 1
    with pytest.raises(Busy):
        cluster.acquire_lease("worker-1", "dead", 60)


def test_a_deleted_lease_does_not_lower_the_token(
    server: Server, cluster: KubernetesCluster
) -> None:
    """Somebody deletes the Lease: the node's memory of the highest token is not passed under."""
    first = cluster.acquire_lease("worker-1", "a", 60)
    del server.objects[HOLD]
    assert cluster.acquire_lease("worker-1", "b", 60) >= first
    assert first > 25_000_000  # minutes since 1970


def test_only_one_of_many_wins(server: Server, url: str, cluster: KubernetesCluster) -> None:
    """Eight operators reach for an expired Lease at once: one gets it."""
    cluster.acquire_lease("worker-1", "dead", 60)
    expire(server)

    def reach(number: int) -> bool:
        mine = KubernetesCluster(client(url))
        try:
            mine.acquire_lease("worker-1", f"op-{number}", 60)
        except (Busy, ClusterUnavailable):
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(reach, range(8))) == 1


def test_a_renewal_whose_answer_was_lost(server: Server, cluster: KubernetesCluster) -> None:
    """The write took effect: asking again finds ourselves as the holder, same token."""
    first = cluster.acquire_lease("worker-1", "a", 60)
    server.faults.append(Fault("PUT", HOLD, after=True))
    with pytest.raises(ClusterUnavailable):
        cluster.acquire_lease("worker-1", "a", 60)
    assert cluster.acquire_lease("worker-1", "a", 60) == first
