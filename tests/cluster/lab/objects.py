"""What these tests put into the cluster, and how they wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab
from unshim.cluster import Api
from unshim.core import bundle, proof

MARK = pytest.mark.lab
ROOT = Path(__file__).parents[3]
SPACE = "unshim-ct"
NODE = "worker-2"
IMAGE = "registry.lab:5000/unshim/canary:1"
# The canary's image stands in for the operator's: tests/integration/test_helm.py runs the real one.
VALUES = {
    "image": {"repository": IMAGE.rpartition(":")[0], "tag": IMAGE.rpartition(":")[2]},
    "ssh": {"keySecret": {"name": "key"}, "knownHostsConfigMap": {"name": "hosts"}},
    "networkPolicy": {"enabled": True},
}


def wait(condition: Callable[[], Any], seconds: float = 60) -> Any:
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "timed out"
        time.sleep(0.1)
    return found


def pod(name: str, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": SPACE, "labels": {"test": SPACE, **labels}},
        "spec": {
            "nodeName": NODE,
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": IMAGE, "imagePullPolicy": "IfNotPresent"}],
        },
    }


def running(admin: Api, name: str) -> dict[str, Any]:
    path = f"/api/v1/namespaces/{SPACE}/pods/{name}"

    def ready() -> Any:
        body = admin.get(path).body
        conditions = (body.get("status") or {}).get("conditions") or ()
        return (
            body if any(c["type"] == "Ready" and c["status"] == "True" for c in conditions) else 0
        )

    found: dict[str, Any] = wait(ready)
    return found


def create(admin: Api, body: dict[str, Any]) -> None:
    """Create, when an earlier run's object of this name has gone."""
    path = f"/api/v1/namespaces/{SPACE}/pods"
    wait(lambda: admin.post(path, body).ok)


def own_side(lab: Lab, leaving: str) -> dict[str, str]:
    """What node/proof.sh says on the node, once that pod's processes are gone."""
    script = bundle.environment({"UNSHIM_LEAVING": leaving})
    script += (ROOT / "operator/unshim/node/proof.sh").read_text()
    config = str(lab.directory / "ssh" / "config")
    said = lab.run("ssh", "-F", config, f"root@{NODE}", "sh", "-s", input=script, timeout=60).stdout
    return proof.parse_facts(said)


def budget(admin: Api, name: str) -> None:
    path = f"/apis/policy/v1beta1/namespaces/{SPACE}/poddisruptionbudgets"
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "held"}}}
    admin.post(path, {"metadata": {"name": name}, "spec": spec})
    wait(lambda: (admin.get(f"{path}/{name}").body.get("status") or {}).get("currentHealthy"))
