"""Pods and evictions: every answer a server may give."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.api import Fault, Server, failure
from tests.cluster.objects import pod, pod_path
from unshim.cluster import KubernetesCluster
from unshim.cluster import pods as pods_module
from unshim.core.objects import CANARY_LABEL, Eviction
from unshim.errors import Refused

EVICT = "/eviction"


def evict(cluster: KubernetesCluster, **options: Any) -> Eviction:
    wanted = {"grace_seconds": None, "dry_run": False} | options
    return cluster.evict(pod("web"), **wanted)


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_eviction_speaks_the_servers_version(
    server: Server, cluster: KubernetesCluster, version: str
) -> None:
    """The version is discovered once, and names and UID are in the body."""
    server.eviction_version = version
    server.put(pod_path("web"), pod("web"))
    assert evict(cluster, grace_seconds=7).verdict == "evicted"
    assert pod_path("web") not in server.objects
    assert evict(cluster).verdict == "gone"
    _, _, body = next(r for r in server.requests if r[1].endswith(EVICT))
    assert body == {
        "apiVersion": f"policy/{version}",
        "kind": "Eviction",
        "metadata": {"name": "web", "namespace": "shop"},
        "deleteOptions": {"preconditions": {"uid": "uid-web"}, "gracePeriodSeconds": 7},
    }
    assert sum(1 for method, path, _ in server.requests if path == "/api/v1") == 1


def test_rehearsal_evicts_nothing(server: Server, cluster: KubernetesCluster) -> None:
    """A dry run asks the server, budgets included, and leaves the pod."""
    server.put(pod_path("web"), pod("web"))
    assert evict(cluster, dry_run=True).verdict == "evicted"
    assert pod_path("web") in server.objects


def test_another_pod_of_the_same_name_is_left(server: Server, cluster: KubernetesCluster) -> None:
    """The pod we mean is gone when its name now belongs to another UID."""
    server.put(pod_path("web"), pod("web", uid="new"))
    assert evict(cluster).verdict == "gone"
    assert pod_path("web") in server.objects


TWO_BUDGETS = (
    "This pod has more than one PodDisruptionBudget, "
    "which the eviction subresource does not support."
)


@pytest.mark.parametrize(
    ("fault", "verdict", "part"),
    [
        (Fault("POST", EVICT, 429, failure(429, "would violate the budget")), "blocked", "violate"),
        (Fault("POST", EVICT, 500, failure(500, TWO_BUDGETS)), "refused", "more than one"),
        (Fault("POST", EVICT, 200, failure(500, TWO_BUDGETS)), "refused", "more than one"),
        (Fault("POST", EVICT, 500, failure(500, "etcdserver: timed out")), "blocked", "etcd"),
        (Fault("POST", EVICT, 404), "gone", ""),
        (Fault("POST", EVICT, 403, failure(403, "not allowed")), "refused", "not allowed"),
        (Fault("POST", EVICT, 422, failure(422, "webhook says no")), "refused", "webhook"),
        (
            Fault(
                "POST", EVICT, 403,
                failure(403, "ending", causes=[{"reason": "NamespaceTerminating"}]),
            ),
            "blocked",
            "namespace shop is ending",
        ),
        (Fault("POST", EVICT, 0), "blocked", "did not answer"),
    ],
)  # fmt: skip
def test_each_answer_has_its_meaning(
    server: Server, cluster: KubernetesCluster, fault: Fault, verdict: str, part: str
) -> None:
    """Blocked may pass, refused never will, gone is what we wanted."""
    server.faults.append(fault)
    answer = evict(cluster)
    assert answer.verdict == verdict
    if part:
        assert part in answer.message


def test_retry_after_is_passed_on(server: Server, cluster: KubernetesCluster) -> None:
    """The server's own pause reaches the drain."""
    server.faults.append(Fault("POST", EVICT, 429, headers={"retry-after": "9"}))
    assert evict(cluster).retry_after == 9.0


def test_a_slow_webhook_blocks_only_its_pod(
    server: Server, cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An eviction that is not answered in time is blocked, not an error of the drain."""
    monkeypatch.setattr(pods_module, "EVICT_SECONDS", 0.2)
    server.faults.append(Fault("POST", EVICT, 201, delay=2))
    assert evict(cluster).verdict == "blocked"


def test_pods_of_the_node_only(server: Server, cluster: KubernetesCluster) -> None:
    """A pod of the same name that runs elsewhere is not on this node."""
    server.put(pod_path("web"), pod("web"))
    server.put(pod_path("other"), {**pod("other"), "spec": {"nodeName": "worker-2"}})
    assert [p["metadata"]["name"] for p in cluster.pods_on("worker-1")] == ["web"]
    assert "resourceVersion" not in server.requests[-1][1]
    assert len(cluster.pods_on("worker-1", cached=True)) == 1
    assert "resourceVersion=0" in server.requests[-1][1]


@pytest.mark.parametrize("policy", ["v1", "v1beta1"])
def test_budgets_of_old_and_new_servers(
    server: Server, cluster: KubernetesCluster, policy: str
) -> None:
    """policy/v1 is asked first; a server that lacks it is asked for policy/v1beta1."""
    server.policy = policy
    path = f"/apis/policy/{policy}/namespaces/shop/poddisruptionbudgets/web"
    server.put(path, {"spec": {"selector": {}}})
    assert [b["metadata"]["name"] for b in cluster.budgets("shop")] == ["web"]


def test_daemon_sets(server: Server, cluster: KubernetesCluster) -> None:
    """Only a 404 says that a DaemonSet is gone."""
    server.put("/apis/apps/v1/namespaces/kube-system/daemonsets/proxy", {})
    assert cluster.daemonset_exists("kube-system", "proxy")
    assert not cluster.daemonset_exists("kube-system", "other")


def test_only_canaries_can_be_deleted(server: Server, cluster: KubernetesCluster) -> None:
    """`delete_pod` refuses every pod that does not carry our label."""
    server.put(pod_path("web"), pod("web"))
    with pytest.raises(Refused, match="not a canary"):
        cluster.delete_pod(pod("web"))
    canary = pod("bird")
    canary["metadata"]["labels"] = {CANARY_LABEL: "run-1"}
    server.put(pod_path("bird"), canary)
    cluster.delete_pod(canary)
    assert list(server.objects) == [pod_path("web")]
