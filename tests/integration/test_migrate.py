"""The main job on a real cluster: one worker to containerd, through a reboot, and back."""

from __future__ import annotations

from tests import operator_process as unshim
from tests.integration import observing
from tests.integration.observing import MARKS
from tests.lab import Lab
from unshim.core.objects import CRI_SOCKET_ANNOTATION

pytestmark = MARKS

NODE = "worker-1"
# what dockerd set at each start, now set at boot: the steps' own result, no leftover
KERNEL_SETTINGS = ["/etc/modules-load.d/unshim.conf", "/etc/sysctl.d/99-unshim.conf"]


def test_a_worker_moves_to_containerd_stays_there_and_comes_back_on_request(
    lab: Lab, operator: unshim.OperatorProcess
) -> None:
    """Succeeded lasts over restarts and a reboot; `unshim rollback` makes it as before."""
    observing.bring_web(lab, NODE)
    before = observing.see(lab, NODE)
    _migrate(lab)
    _assert_migrated(lab)
    _outlasts_restarts(lab)
    _outlasts_a_reboot(lab)
    operator.stop()
    done = unshim.cli(lab, "rollback", NODE, "--delete-emptydir-data")
    assert done.returncode == 0, done.stdout + done.stderr
    observing.assert_same(before, observing.see(lab, NODE))
    observing.wait_serves(lab, NODE, "docker://")
    lab.wait_ready()
    assert lab.node(NODE).cri_containers() == []
    assert observing.left_over(lab, NODE) == []


def _migrate(lab: Lab) -> None:
    unshim.apply(lab, unshim.migration("moves", NODE))
    phases: list[str] = []
    ended = unshim.finished(lab, "moves", seen=lambda s: phases.append(s.get("phase", "")))
    assert ended["phase"] == "Succeeded", ended["message"]
    assert {"Draining", "Verifying"} <= set(phases), "a person sees the phases move"
    conditions = {c["type"]: c["status"] for c in ended["conditions"]}
    expected = ("Audited", "Drained", "Switched", "Verified", "Succeeded")
    assert conditions == dict.fromkeys(expected, "True")


def _assert_migrated(lab: Lab) -> None:
    """Every pod of the workload is Ready, none in Docker, and only the run's folder is left."""
    lab.wait_ready()  # the evicted pods, too: local-only and insecure-registry images among them
    observing.wait_serves(lab, NODE, "containerd://")
    assert observing.schedulable(lab, NODE)
    annotations = lab.node_object(NODE)["metadata"]["annotations"]
    assert annotations[CRI_SOCKET_ANNOTATION] == "unix:///run/containerd/containerd.sock"
    assert lab.node(NODE).docker_k8s_containers() == []
    assert lab.node(NODE).exec("systemctl is-active docker", check=False).stdout == "inactive\n"
    assert observing.left_over(lab, NODE) == KERNEL_SETTINGS
    _runs_every_kind_of_image(lab)


def _runs_every_kind_of_image(lab: Lab) -> None:
    """Moved here, each workload starts: nothing comes out of Docker's store any more."""
    other = "worker-2"
    lab.kubectl("cordon", other)
    lab.kubectl("delete", "pod", "-n", "apps", "--field-selector", f"spec.nodeName={other}")
    lab.wait_ready()
    lab.kubectl("uncordon", other)
    here = {pod["metadata"]["name"].split("-")[0] for pod in observing.pods_on(lab, NODE)}
    assert {"web", "local", "agent", "db"} <= here
    observing.wait_serves(lab, NODE, "containerd://")


def _outlasts_restarts(lab: Lab) -> None:
    since = observing.now()
    lab.node(NODE).exec("systemctl restart kubelet containerd")
    observing.wait_serves(lab, NODE, "containerd://", since)


def _outlasts_a_reboot(lab: Lab) -> None:
    lab.node(NODE).reboot()
    observing.wait_serves(lab, NODE, "containerd://", observing.now())
    assert lab.node(NODE).docker_k8s_containers() == []
    lab.wait_ready()
