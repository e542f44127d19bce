"""Drains: passes over a small cluster that holds state."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from unshim.core.objects import Eviction, Manifest
from unshim.core.options import DrainOptions
from unshim.drain import Drain
from unshim.errors import ClusterUnavailable, DrainRefused
from unshim.ports import Cluster

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GONE = Eviction(verdict="evicted")
BLOCKED = Eviction(verdict="blocked", message="the budget says no")


def pod(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "shop",
            "name": name,
            "uid": f"uid-{name}",
            "labels": {"app": name},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "rs", "controller": True}],
            **changes,
        },
        "status": {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]},
    }


@dataclass
class SmallCluster:
    """Pods that go when they are evicted, unless `answers` says otherwise."""

    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: dict[str, Callable[[], Eviction]] = field(default_factory=dict)
    budget_list: list[Manifest] = field(default_factory=list)
    daemon_sets: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    existence: int = 0
    graces: set[int | None] = field(default_factory=set)
    down: bool = False
    stale: bool = False  # the server's cache has not seen the pods yet
    lists: list[str] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def pods_on(self, _name: str, *, cached: bool = False) -> Sequence[Manifest]:
        if self.down:
            raise ClusterUnavailable("down")
        self.lists.append("cached" if cached else "exact")
        return () if cached and self.stale else tuple(self.pods.values())

    def daemonset_exists(self, namespace: str, name: str) -> bool:
        self.existence += 1
        return f"{namespace}/{name}" in self.daemon_sets

    def budgets(self, _namespace: str) -> Sequence[Manifest]:
        return self.budget_list

    def evict(self, pod: Manifest, *, grace_seconds: int | None, dry_run: bool) -> Eviction:
        assert not dry_run
        self.graces.add(grace_seconds)
        name = pod["metadata"]["name"]
        with self.guard:
            self.asked.append(name)
        answer = self.answers.get(name, lambda: GONE)()
        if answer is GONE:
            self.pods.pop(name, None)
        return answer


def drain(world: SmallCluster, **options: Any) -> Drain:
    return Drain(cast(Cluster, world), DrainOptions(**options))


def world(*names: str) -> SmallCluster:
    return SmallCluster(pods={name: pod(name) for name in names})


def test_everything_leaves() -> None:
    """One pass evicts every pod; the next one sees that they are gone."""
    cluster = world("a", "b", "c")
    mine = drain(cluster, grace_period_seconds=7)
    first = mine.pass_once("worker-1", NOW)
    assert (first.done, first.pending, first.total) == (False, 3, 3)
    assert cluster.graces == {7}
    last = mine.pass_once("worker-1", NOW)
    assert last.done
    assert last.as_status() == {"pending": 0, "total": 3, "blockedBy": []}


def test_a_blocked_pod_holds_up_no_other() -> None:
    """A budget's no is for one pod: the others leave in the same pass."""
    cluster = world("a", "b", "c")
    cluster.answers["b"] = lambda: BLOCKED
    mine = drain(cluster)
    mine.pass_once("worker-1", NOW)
    assert list(cluster.pods) == ["b"]
    state = mine.pass_once("worker-1", NOW + timedelta(seconds=1))
    assert state.message == "1 pod has to leave: shop/b (held by the budget says no)"


def test_slow_evictions_run_side_by_side() -> None:
    """Eight evictions that only answer together do answer: none waits for another."""
    cluster = world(*"abcdefgh")
    barrier = threading.Barrier(8, timeout=10)

    def together() -> Eviction:
        barrier.wait()
        return GONE

    cluster.answers = dict.fromkeys("abcdefgh", together)
    drain(cluster).pass_once("worker-1", NOW)
    assert not cluster.pods


def test_blocked_pods_are_tried_again_after_a_pause() -> None:
    """Not before 5 s, and not before the server's own Retry-After."""
    cluster = world("a")
    cluster.answers["a"] = lambda: Eviction(verdict="blocked", retry_after=9.0)
    mine = drain(cluster)
    for second in (0, 1, 4, 8, 9, 10):
        mine.pass_once("worker-1", NOW + timedelta(seconds=second))
    assert cluster.asked == ["a", "a"]


def test_the_budget_is_named_and_the_message_does_not_flicker() -> None:
    """People read which budget holds which pod, in the same words pass after pass."""
    cluster = world("b", "a")
    cluster.budget_list = [
        {
            "apiVersion": "policy/v1",
            "metadata": {"namespace": "shop", "name": "web"},
            "spec": {"selector": {"matchLabels": {"app": "a"}}},
            "status": {"currentHealthy": 2, "desiredHealthy": 2},
        }
    ]
    cluster.answers = {"a": lambda: BLOCKED, "b": lambda: BLOCKED}
    mine = drain(cluster)
    messages = {mine.pass_once("worker-1", NOW + timedelta(seconds=s)).message for s in range(9)}
    (message,) = messages
    assert message == (
        "2 pods have to leave: "
        "shop/a (held by PodDisruptionBudget shop/web: 2 healthy, 2 required), "
        "shop/b (held by the budget says no)"
    )
    blocked = mine.pass_once("worker-1", NOW).blocked_by
    assert blocked[0].startswith("PodDisruptionBudget shop/web")


def test_a_refusal_comes_before_the_first_eviction() -> None:
    """When one pod may not go, none goes, and the options that would allow it are named."""
    cluster = world("a")
    cluster.pods["bare"] = pod("bare", ownerReferences=[])
    with pytest.raises(
        DrainRefused, match=r"worker-1.*shop/bare \(no controller.*spec\.drain\.force"
    ):
        drain(cluster).pass_once("worker-1", NOW)
    assert cluster.asked == []


def test_what_can_never_be_evicted_ends_the_drain() -> None:
    """Two budgets on one pod are permanent: say so instead of trying for ever."""
    cluster = world("a", "b")
    cluster.answers["a"] = lambda: Eviction(verdict="refused", message="more than one budget")
    with pytest.raises(DrainRefused, match=r"shop/a \(more than one budget\)"):
        drain(cluster).pass_once("worker-1", NOW)
    assert "b" not in cluster.pods


def test_terminating_pods_are_waited_for() -> None:
    """A pod that is going is not evicted again; the drain ends when it has gone."""
    cluster = world()
    cluster.pods["a"] = pod("a", deletionTimestamp="2026-01-01T00:00:00Z")
    mine = drain(cluster)
    assert not mine.pass_once("worker-1", NOW).done
    assert cluster.asked == []
    cluster.pods["a"]["status"]["containerStatuses"] = [{"state": {"terminated": {}}}]
    assert not mine.pass_once("worker-1", NOW).done, "the kubelet is not done with it"
    del cluster.pods["a"]
    assert mine.pass_once("worker-1", NOW).done


def test_daemon_sets_are_asked_for_once() -> None:
    """Existence is asked for once per DaemonSet and drain, not per pod and pass."""
    cluster = world()
    owners = [{"kind": "DaemonSet", "name": "proxy", "controller": True}]
    cluster.pods = {n: pod(n, ownerReferences=owners) for n in ("p1", "p2")}
    cluster.daemon_sets = {"shop/proxy"}
    mine = drain(cluster)
    assert mine.pass_once("worker-1", NOW).done
    mine.pass_once("worker-1", NOW)
    assert cluster.existence == 1


def test_a_new_drain_goes_on_where_the_old_one_was_lost() -> None:
    """A restarted operator needs no memory: the pods on the node are the state."""
    cluster = world("a", "b")
    cluster.answers["b"] = lambda: BLOCKED
    drain(cluster).pass_once("worker-1", NOW)
    cluster.answers.clear()
    again = drain(cluster)
    again.pass_once("worker-1", NOW)
    assert again.pass_once("worker-1", NOW).done


def test_a_pod_that_comes_back_is_let_be() -> None:
    """Its template names the node, or tolerates the cordon: it would come back forever."""
    cluster = world("a", "b")
    cluster.answers["b"] = lambda: BLOCKED
    mine = drain(cluster)
    mine.pass_once("worker-1", NOW)
    cluster.pods["again"] = pod("again")
    waits = mine.pass_once("worker-1", NOW)
    assert (waits.done, waits.pending) == (False, 1), "the one that was there still has to leave"
    cluster.pods.pop("b")
    last = mine.pass_once("worker-1", NOW)
    assert last.done
    assert "back despite the cordon, to restart with the runtime: shop/again" in last.message
    assert cluster.asked == ["a", "b"]


@pytest.mark.parametrize(
    "owners", [[], [{"kind": "ReplicaSet", "name": "other", "controller": True}]]
)
def test_a_pod_that_lands_late_leaves_too(owners: list[dict[str, Any]]) -> None:
    """Bound just before the cordon, or while somebody had lifted it."""
    cluster = world("a")
    cluster.pods["bare"] = pod("bare", ownerReferences=[])
    mine = drain(cluster, force=True)
    mine.pass_once("worker-1", NOW)
    cluster.pods["late"] = pod("late", ownerReferences=owners)
    assert not mine.pass_once("worker-1", NOW).done
    assert mine.pass_once("worker-1", NOW).done
    assert cluster.asked[-1] == "late"


def test_many_pods_are_evicted_over_several_passes() -> None:
    """A pass stays short however many pods there are."""
    cluster = world(*(f"p{index:03}" for index in range(150)))
    mine = drain(cluster)
    passes = 0
    while not mine.pass_once("worker-1", NOW).done:
        passes += 1
    assert passes == 3
    assert len(cluster.asked) == 150


def test_an_unreachable_server_is_for_the_engine() -> None:
    """No pass pretends to know: the error goes up and the next tick tries again."""
    cluster = world("a")
    cluster.down = True
    with pytest.raises(ClusterUnavailable):
        drain(cluster).pass_once("worker-1", NOW)


def test_the_end_is_never_taken_from_a_cache() -> None:
    """Polling reads the server's memory; that nothing is left is read from its store."""
    cluster = world("a")
    cluster.answers["a"] = lambda: BLOCKED
    mine = drain(cluster)
    mine.pass_once("worker-1", NOW)
    mine.pass_once("worker-1", NOW)
    assert cluster.lists == ["exact", "cached"]
    cluster.stale = True
    assert not mine.pass_once("worker-1", NOW).done
    cluster.pods.clear()
    assert mine.pass_once("worker-1", NOW).done
    assert cluster.lists[2:] == ["cached", "exact", "cached", "exact"]
