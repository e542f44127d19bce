"""What pods name besides themselves: read one by one, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.api import Fault, Server
from tests.cluster.objects import pod
from unshim.cluster import KubernetesCluster
from unshim.errors import Forbidden

CLAIM = "/api/v1/namespaces/shop/persistentvolumeclaims/data"
VOLUME = "/api/v1/persistentvolumes/pv-1"


def with_claim(name: str, claim: str) -> dict[str, Any]:
    body = pod(name)
    body["spec"]["volumes"] = [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]
    return body


def classed(name: str, runtime_class: str) -> dict[str, Any]:
    body = pod(name)
    body["spec"]["runtimeClassName"] = runtime_class
    return body


def test_the_volume_behind_a_claim(server: Server, cluster: KubernetesCluster) -> None:
    """Asked for once, however many pods use it; a claim that is not bound leads nowhere."""
    server.put(CLAIM, {"spec": {"volumeName": "pv-1"}})
    server.put(CLAIM.replace("data", "new"), {"spec": {}})
    server.put(VOLUME, {"spec": {"hostPath": {"path": "/var/run/docker.sock"}}})
    server.put(VOLUME.replace("pv-1", "pv-2"), {"spec": {}})
    pods = [with_claim("a", "data"), with_claim("b", "data"), with_claim("c", "new"), pod("d")]
    assert [v["metadata"]["name"] for v in cluster.volumes_of(pods)] == ["pv-1"]
    assert server.count("GET", "/") == 3


def test_a_claim_that_has_gone(cluster: KubernetesCluster) -> None:
    """Deleted between two requests: nothing to say about it."""
    assert cluster.volumes_of([with_claim("a", "data")]) == ()


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_runtime_classes_of_both_versions(
    server: Server, cluster: KubernetesCluster, version: str
) -> None:
    """Old servers know v1beta1 only, new ones v1 only."""
    path = f"/apis/node.k8s.io/{version}/runtimeclasses/docker"
    server.put(path, {"handler": "docker"})
    pods = [classed("a", "docker"), classed("b", "docker"), classed("c", "none"), pod("d")]
    assert [c["handler"] for c in cluster.runtime_classes_of(pods)] == ["docker"]


def test_a_right_that_is_missing_is_told(server: Server, cluster: KubernetesCluster) -> None:
    """Without it a run would go on half blind: it waits and says what is missing."""
    server.faults.append(Fault("GET", "persistentvolumeclaims", 403))
    with pytest.raises(Forbidden, match="persistentvolumeclaims"):
        cluster.volumes_of([with_claim("a", "data")])
