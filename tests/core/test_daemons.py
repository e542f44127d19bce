"""Readiness of the pods that belong to a node."""

from __future__ import annotations

from typing import Any

import pytest

from unshim.core import daemons

RUNNING = {"name": "main", "state": {"running": {}}, "started": True}
PLAIN = {"name": "main"}
PROBED = {"name": "main", "readinessProbe": {}}


def pod(
    ready: str, container: dict[str, Any], status: dict[str, Any], **changes: Any
) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "kube-system",
            "name": "etcd-cp-1",
            "annotations": {"kubernetes.io/config.mirror": "hash"},
            **changes.pop("metadata", {}),
        },
        "spec": {"containers": [container], **changes},
        "status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [status],
        },
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (pod("True", PROBED, RUNNING), True),
        (pod("False", PLAIN, RUNNING), True),
        (pod("False", PROBED, RUNNING), False),
        (pod("False", PLAIN, {**RUNNING, "started": False}), False),
        (pod("False", PLAIN, {"name": "main", "state": {"running": {}}}), False),
        (pod("False", PLAIN, {**RUNNING, "state": {"waiting": {}}}), False),
        (pod("False", PLAIN, {**RUNNING, "name": "other"}), False),
        (pod("False", PLAIN, RUNNING, readinessGates=[{"conditionType": "x"}]), False),
        (pod("True", PLAIN, RUNNING, metadata={"deletionTimestamp": "now"}), False),
    ],
)
def test_ready(body: dict[str, Any], *, expected: bool) -> None:
    """The kubelet's own rule, without waiting for it to publish the condition."""
    assert daemons.ready(body) is expected


def test_states_name_what_makes_them() -> None:
    """Static pods by their own name, DaemonSet pods by their DaemonSet's; others not at all."""
    owned = [{"kind": "DaemonSet", "name": "proxy", "controller": True}]
    proxies = [
        pod(ready, PROBED, RUNNING, metadata={"name": f"proxy-{ready}", "ownerReferences": owned})
        for ready in ("False", "True")
    ]
    other = pod("True", PLAIN, RUNNING, metadata={"annotations": {}})
    assert daemons.states([pod("False", PROBED, RUNNING), *proxies, other]) == {
        "static/kube-system/etcd-cp-1": False,
        "ds/kube-system/proxy": True,
    }
