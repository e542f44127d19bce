"""The canary pod, step by step, with the pod itself as the only memory but for its end."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.api import Fault, Server
from unshim.cluster import KubernetesCluster, canary
from unshim.core import images
from unshim.core.objects import CANARY_LABEL, CanaryResult
from unshim.errors import ClusterUnavailable

PATH = "/api/v1/namespaces/unshim-system/pods/unshim-canary-run-1"
LOG = "unshim-canary started\ncgroup=1:name=systemd:/kubepods/x\nnetwork=ok\n"


def step(cluster: KubernetesCluster) -> CanaryResult:
    return cluster.canary("worker-1", "run-1", "registry.lab:5000/busybox:1")


def run_pod(server: Server, **status: Any) -> None:
    """What the kubelet does."""
    state = status or {"running": {"startedAt": "now"}}
    server.objects[PATH]["status"] = {
        "phase": "Running",
        "podIP": "10.1.1.1",
        "containerStatuses": [{"name": "canary", "imageID": "sha256:1", "state": state}],
    }


def test_whole_life(server: Server, cluster: KubernetesCluster) -> None:
    """Created, seen running with all it must show, deleted; then the node tells its end."""
    server.graceful = True
    assert not step(cluster).leaving
    assert "not yet seen" in step(cluster).message
    run_pod(server)
    server.logs["unshim-canary-run-1"] = LOG
    uid = server.objects[PATH]["metadata"]["uid"]
    seen = step(cluster)
    assert seen.checks == {**dict.fromkeys(canary.CHECKS, True), "terminated": False}
    assert seen.cgroup == "/kubepods/x"
    assert "terminating" in seen.message
    assert seen.leaving == uid
    assert PATH not in server.objects
    assert step(cluster) == seen
    assert PATH not in server.objects, "it is not made a second time"


def test_a_deletion_that_fails_is_asked_for_again(
    server: Server, cluster: KubernetesCluster
) -> None:
    """What it had shown is remembered; it is not made to show it twice."""
    step(cluster)
    run_pod(server)
    server.logs["unshim-canary-run-1"] = LOG
    server.faults.append(Fault("DELETE", "unshim-canary", 400))
    with pytest.raises(ClusterUnavailable):
        step(cluster)
    assert PATH in server.objects
    assert step(cluster).leaving
    assert PATH not in server.objects


def test_the_pod_is_pinned_labelled_and_restricted(
    server: Server, cluster: KubernetesCluster
) -> None:
    """It names its run, tolerates everything, and Pod Security's `restricted` admits it."""
    step(cluster)
    body = server.objects[PATH]
    container = body["spec"]["containers"][0]
    assert body["metadata"]["labels"][CANARY_LABEL] == "run-1"
    assert body["spec"]["nodeName"] == "worker-1"
    assert body["spec"]["tolerations"] == [{"operator": "Exists"}]
    assert body["spec"]["terminationGracePeriodSeconds"] == 1
    assert body["spec"]["securityContext"]["runAsNonRoot"] is True
    assert body["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["imagePullPolicy"] == "Always"


def test_what_is_missing_is_told(server: Server, cluster: KubernetesCluster) -> None:
    """The kubelet's own words for a failed pull; the network's for a failed connection."""
    step(cluster)
    run_pod(server, waiting={"reason": "ImagePullBackOff", "message": "no such host"})
    assert step(cluster).message == "canary pod: ImagePullBackOff: no such host"
    run_pod(server)
    server.logs["unshim-canary-run-1"] = "unshim-canary started\nnetwork=failed timed out\n"
    seen = step(cluster)
    assert seen.checks["logged"]
    assert not seen.checks["network"]
    assert "network=failed timed out" in seen.message


def test_exec_that_fails_is_tried_again(server: Server, cluster: KubernetesCluster) -> None:
    """A wrong answer by exec is a check that does not hold, not an error."""
    step(cluster)
    run_pod(server)
    server.logs["unshim-canary-run-1"] = LOG
    server.exec_output = "something else"
    assert not step(cluster).checks["exec"]
    server.faults.append(Fault("GET", "/exec", 500))
    assert not step(cluster).checks.get("exec")
    server.exec_output = "unshim-canary\n"
    assert step(cluster).checks["exec"]


def test_a_restarted_operator_goes_on(server: Server, cluster: KubernetesCluster, api: Any) -> None:
    """The pod tells a new process what it has shown; one that is gone runs once more."""
    step(cluster)
    run_pod(server)
    server.logs["unshim-canary-run-1"] = LOG
    second = KubernetesCluster(api, canary_namespace="unshim-system")
    assert step(second).checks["exec"]
    third = KubernetesCluster(api, canary_namespace="unshim-system")
    assert not step(third).leaving
    assert PATH in server.objects


def test_a_failed_pod_is_replaced(server: Server, api: Any) -> None:
    """The kubelet may turn a pinned pod away (no room): it is deleted and made anew, in time."""
    for seconds in (60, 0):
        canaries = canary.Canaries(api, "unshim-system", again_seconds=seconds)
        canaries.step("worker-1", "run-1", "image")
        server.objects[PATH]["status"] = {"phase": "Failed", "reason": "OutOfpods"}
        first = server.objects[PATH]["metadata"]["uid"]
        assert "OutOfpods" in canaries.step("worker-1", "run-1", "image").message
        assert (PATH in server.objects) is (seconds > 0), "a new one every poll helps nobody"
        canaries.step("worker-1", "run-1", "image")
        assert (server.objects[PATH]["metadata"]["uid"] == first) is (seconds > 0)
        canaries.remove("run-1")


def test_remove_is_idempotent(server: Server, cluster: KubernetesCluster) -> None:
    """Nothing is left, however often it is removed."""
    step(cluster)
    cluster.remove_canary("worker-1", "run-1")
    cluster.remove_canary("worker-1", "run-1")
    assert PATH not in server.objects


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("busybox", False),
        ("library/busybox:1", False),
        ("registry.lab:5000/busybox", True),
        ("localhost/x", True),
        ("quay.io/x/y@sha256:1", True),
    ],
)
def test_registry_hosts(image: str, *, expected: bool) -> None:
    """Only an image that names a registry can be pulled anew for certain."""
    assert images.names_registry(image) is expected


TOOLS = {"busybox": ["sh", "cat", "sleep", "nc"], "no-nc": ["sh", "sleep", "wget"]}


@pytest.mark.skipif(not shutil.which("busybox"), reason="needs busybox")
@pytest.mark.parametrize("image", ["busybox", "no-nc", "host"])
def test_the_script_speaks_to_a_real_server(url: str, tmp_path: Path, image: str) -> None:
    """The canary's script, by three images' shells and tools: it logs, connects, ends on TERM."""
    busybox = shutil.which("busybox")
    for tool in TOOLS.get(image, ()):
        (tmp_path / tool).symlink_to(str(busybox))
    host, port = url.removeprefix("http://").split(":")
    environment = {
        "PATH": str(tmp_path) if image in TOOLS else "/usr/bin:/bin",
        "KUBERNETES_SERVICE_HOST": host,
        "KUBERNETES_SERVICE_PORT": port,
    }
    shell = [str(busybox), "sh"] if image in TOOLS else ["sh"]
    process = subprocess.Popen(
        [*shell, "-c", canary.SCRIPT], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or not lines[-1].startswith("network="):
        lines.append(process.stdout.readline().strip())
    process.terminate()
    assert process.wait(timeout=5) == 0
    process.stdout.close()
    assert lines[0] == "unshim-canary started"
    assert any(line.startswith("cgroup=") for line in lines)
    assert lines[-1] == "network=ok"
