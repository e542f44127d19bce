"""What the chart starts, and what it lets the operator do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cluster.lab.objects import MARK, NODE, SPACE, pod, wait
from tests.lab import Lab
from unshim.cluster import Api, KubernetesCluster
from unshim.errors import Forbidden

pytestmark = MARK


def test_the_chart_starts_its_pod(installed: Lab, admin: Api) -> None:
    """Helm's Deployment is admitted, its volumes mount, and its container is told to `run`.

    (The image that stands in for the operator's has no such command: the runtime says so.)
    """
    assert installed.get("deployment", "-n", SPACE, SPACE)["spec"]["replicas"] == 1
    path = f"/api/v1/namespaces/{SPACE}/pods"

    def started() -> Any:
        pods = admin.get(path, labelSelector=f"app.kubernetes.io/instance={SPACE}").body["items"]
        states = [s for p in pods for s in (p.get("status") or {}).get("containerStatuses") or ()]
        return [pods[0]["spec"]] if 'exec: \\"run\\"' in json.dumps(states) else None

    (spec,) = wait(started)
    assert spec["securityContext"]["runAsUser"] == 65532
    assert spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


def test_no_right_is_missing_and_none_too_many(cluster: KubernetesCluster, api: Api) -> None:
    """What the operator never does, it may not do: other pods, Secrets, deleting its own object."""
    assert cluster.daemonset_exists("kube-system", "nope") is False
    for path in (
        "/api/v1/secrets",
        "/api/v1/namespaces/kube-system/configmaps",
        f"/api/v1/namespaces/{SPACE}/configmaps",
        "/api/v1/persistentvolumes",
        "/apis/apps/v1/deployments",
    ):
        with pytest.raises(Forbidden):
            api.get(path)
    assert api.post("/api/v1/namespaces/kube-system/pods", pod("x")).status == 403
    assert api.delete(f"/api/v1/nodes/{NODE}", {}).status == 403
    assert api.delete("/apis/unshim.dev/v1alpha1/nodemigrations/nope", {}).status == 403
