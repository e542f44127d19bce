"""The audit's cost grows with the cluster, not with its square."""

from __future__ import annotations

import time
from typing import Any

from tests.audit import loading
from unshim.audit import Snapshot, audit


def cluster(nodes: int) -> Snapshot:
    """Every node has four pods; there is a workload, a budget and a control plane for some."""
    base = loading.base()["node"]
    return Snapshot(
        now=loading.NOW,
        nodes=tuple(_node(base, number) for number in range(nodes)),
        pods=tuple(_pod(number, nodes) for number in range(4 * nodes)),
        controllers=tuple(_deployment(number) for number in range(nodes // 2)),
        budgets=tuple(_budget(number) for number in range(nodes // 5)),
        services=tuple(_service(number) for number in range(nodes // 2)),
        webhooks=(_webhooks(nodes // 50),),
    )


def _node(base: dict[str, Any], number: int) -> dict[str, Any]:
    return loading.merged(base, {"metadata": {"name": f"n{number}"}})  # type: ignore[no-any-return]


def _pod(number: int, nodes: int) -> dict[str, Any]:
    workload = number // 8
    owner = {"kind": "StatefulSet", "name": f"app-{workload}", "controller": True}
    meta = {"name": f"app-{number}", "namespace": f"ns{workload % 50}", "uid": str(number)}
    labels = {"app": f"app-{workload}"}
    spec = {"nodeName": f"n{number % nodes}", "containers": [{"name": "a", "image": "app:1"}]}
    meta_owned: dict[str, Any] = {**meta, "labels": labels, "ownerReferences": [owner]}
    return {"metadata": meta_owned, "spec": spec, "status": {"phase": "Running"}}


def _deployment(number: int) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "a", "image": "app:1"}]}}
    meta = {"name": f"web-{number}", "namespace": f"ns{number % 50}"}
    return {"kind": "Deployment", "metadata": meta, "spec": {"template": template}}


def _budget(number: int) -> dict[str, Any]:
    selector = {"matchLabels": {"app": f"app-{number}"}}
    meta = {"name": f"b{number}", "namespace": f"ns{number % 50}"}
    return {"metadata": meta, "spec": {"selector": selector}, "status": {"disruptionsAllowed": 1}}


def _service(number: int) -> dict[str, Any]:
    meta = {"name": f"s{number}", "namespace": f"ns{number % 50}"}
    return {"metadata": meta, "spec": {"selector": {"app": f"app-{number}"}}}


def _webhooks(count: int) -> dict[str, Any]:
    rule = {"apiGroups": ["*"], "operations": ["*"], "resources": ["*/*"]}
    services = [{"namespace": f"ns{number % 50}", "name": f"s{number}"} for number in range(count)]
    hooks = [{"name": s["name"], "rules": [rule], "clientConfig": {"service": s}} for s in services]
    kind = "ValidatingWebhookConfiguration"
    return {"kind": kind, "metadata": {"name": "guard"}, "webhooks": hooks}


def seconds(snapshot: Snapshot) -> float:
    """Processor time, so that a busy machine does not decide."""
    start = time.process_time()
    audit(snapshot)
    return time.process_time() - start


def test_four_times_the_cluster_is_not_sixteen_times_the_work() -> None:
    """From 500 nodes to 2,000 the cost grows about fourfold."""
    small, large = cluster(500), cluster(2000)
    seconds(small)  # warms caches of regular expressions
    assert seconds(large) < 8 * min(seconds(small), seconds(small)) + 0.5
