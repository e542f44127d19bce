"""Bodies of API objects, as small as a test can use them."""

from __future__ import annotations

from typing import Any

NODE = "/api/v1/nodes/worker-1"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/worker-1"
HOLD = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/unshim-worker-1"
MIGRATION = "/apis/unshim.dev/v1alpha1/nodemigrations/worker-1"


def node(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "worker-1", "uid": "n-1", "annotations": {"kept": "yes"}},
        "spec": spec,
        "status": {
            "nodeInfo": {
                "containerRuntimeVersion": "docker://20.10.24",
                "kubeletVersion": "v1.20.2",
            },
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "lastHeartbeatTime": "2026-01-01T00:00:10Z",
                }
            ],
            "addresses": [
                {"type": "InternalIP", "address": "10.0.0.7"},
                {"type": "InternalIP", "address": "10.9.0.7"},
                {"type": "Hostname", "address": "worker-1"},
            ],
            "allocatable": {"cpu": "2"},
        },
    }


def pod(name: str, namespace: str = "shop", uid: str = "") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": uid or f"uid-{name}"},
        "spec": {"nodeName": "worker-1"},
        "status": {"phase": "Running"},
    }


def pod_path(name: str, namespace: str = "shop") -> str:
    return f"/api/v1/namespaces/{namespace}/pods/{name}"
