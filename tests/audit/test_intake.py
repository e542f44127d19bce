"""Pages of a cluster, trimmed and shared: the audit of what is kept is the audit of all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.audit import loading
from unshim.audit import audit
from unshim.audit.intake import Intake
from unshim.audit.snapshot import Snapshot

_KINDS = {
    "budgets": "PodDisruptionBudget",
    "volumes": "PersistentVolume",
    "config_maps": "ConfigMap",
    "runtime_classes": "RuntimeClass",
    "security_policies": "PodSecurityPolicy",
    "services": "Service",
}


def taken(snapshot: Snapshot) -> Intake:
    """The snapshot's objects as an API server would list them, through an intake."""
    intake = Intake()
    for kind, item in _listed(snapshot):
        bare = {key: value for key, value in item.items() if key not in ("kind", "apiVersion")}
        intake.add(kind, [json.loads(json.dumps(bare))], str(item.get("apiVersion", "")))
    return intake


def _listed(snapshot: Snapshot) -> Iterator[tuple[str, Any]]:
    yield from (("Node", node) for node in snapshot.nodes)
    yield from (("Pod", pod) for pod in snapshot.pods)
    yield from ((str(c["kind"]), c) for c in (*snapshot.controllers, *snapshot.webhooks))
    for field, kind in _KINDS.items():
        yield from ((kind, item) for item in getattr(snapshot, field))


def test_nothing_that_matters_is_trimmed() -> None:
    """For every case, the objects that an intake keeps lead to the same findings."""
    for path in sorted((loading.HERE / "cases").glob("*/*.json")):
        whole = loading.snapshot(json.loads(path.read_text())["snapshot"])
        kept = taken(whole).snapshot(
            now=whole.now,
            facts=whole.facts,
            targets=whole.targets,
            options=whole.options,
            evictions=whole.evictions,
            pull_failures=whole.pull_failures,
            operator_node=whole.operator_node,
            run=whole.run,
            whole_cluster=whole.whole_cluster,
            all_nodes=whole.all_nodes,
        )
        assert audit(kept) == audit(whole), path


def test_pods_of_one_owner_share_their_containers() -> None:
    """The memory of a thousand alike pods is that of one pod's containers."""
    owner = {"kind": "ReplicaSet", "name": "web-7f", "controller": True}
    intake = Intake()
    for number in range(3):
        meta = {"name": f"web-{number}", "namespace": "a", "ownerReferences": [owner]}
        image = "app:2" if number == 2 else "app:1"
        spec = {"nodeName": "w1", "containers": [{"name": "app", "image": image}]}
        intake.add("Pod", [{"metadata": meta, "spec": spec}], "v1")
    first, second, other = intake.snapshot(now=loading.NOW).pods
    assert first["spec"]["containers"] is second["spec"]["containers"]
    assert other["spec"]["containers"][0]["image"] == "app:2"


def test_bulk_is_dropped() -> None:
    """Managed fields, applied configurations and dashboards are not kept."""
    intake = Intake()
    note = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "keep": "me"}
    meta = {"name": "x", "namespace": "a", "managedFields": [1], "annotations": note}
    intake.add("ConfigMap", [{"metadata": meta, "data": {"a": "x" * 300_000, "b": "y"}}], "v1")
    (config_map,) = intake.snapshot(now=loading.NOW).config_maps
    assert config_map["data"] == {"b": "y"}
    assert config_map["metadata"]["annotations"] == {"keep": "me"}
    assert "managedFields" not in config_map["metadata"]


def test_certificates_of_webhooks_are_dropped() -> None:
    """Where a webhook is served stays, the certificate of its authority does not."""
    intake = Intake()
    client = {"caBundle": "x" * 1000, "service": {"namespace": "a", "name": "b"}}
    hooks = {"metadata": {"name": "x"}, "webhooks": [{"name": "y", "clientConfig": client}]}
    intake.add("ValidatingWebhookConfiguration", [hooks], "admissionregistration.k8s.io/v1")
    (kept,) = intake.snapshot(now=loading.NOW).webhooks
    assert kept["webhooks"][0]["clientConfig"] == {"service": {"namespace": "a", "name": "b"}}
