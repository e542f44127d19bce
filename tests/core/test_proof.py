"""The proof: what must hold, and that each lie a node can tell is found out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from unshim.core import proof
from unshim.core.objects import CanaryResult, Node
from unshim.core.proof import Baseline, Check, Reading

SWITCHED = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
BEAT = datetime(2026, 1, 1, 12, 0, 9, tzinfo=UTC)
SOCKET = "unix:///run/containerd/containerd.sock"

NODE = Node(
    name="worker-1",
    uid="n",
    unschedulable=True,
    ready=True,
    runtime="containerd://1.6.20",
    kubelet_version="v1.20.2",
    heartbeat=BEAT,
    allocatable={"cpu": "2", "memory": "1Gi"},
    taints=("node.kubernetes.io/unschedulable=:NoSchedule", "gpu=yes:NoSchedule"),
)
BEFORE = Baseline(
    cgroup_driver="systemd",
    allocatable={"cpu": "2", "memory": "1Gi"},
    taints=("gpu=yes:NoSchedule",),
    daemons={"ds/kube-system/proxy": True, "static/kube-system/etcd-worker-1": True},
)
KUBELET = "/usr/bin/kubelet --container-runtime=remote --container-runtime-endpoint"
FACTS = {
    "kubelet_active": "yes",
    "kubelet_started": str(int(SWITCHED.timestamp()) + 5),
    "kubelet_cmdline": f"{KUBELET}={SOCKET}",
    "containerd_active": "yes",
    "docker_active": "no",
    "socket_server": "containerd",
    "socket_listeners": "1",
    "moby_shims": "0",
    "ctr_tasks": "4",
    "cgroup_systemd": "4",
    "cgroup_cgroupfs": "0",
    "cgroup_mismatch": "0",
}
CANARY = CanaryResult(checks={"pulled": True, "ran": True})


def pod(name: str, container: str = "containerd://1", **changes: Any) -> dict[str, Any]:
    ready = changes.pop("ready", True)
    return {
        "metadata": {"namespace": "kube-system", "name": name, "uid": name, **changes},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [
                {"name": "main", "containerID": container, "state": {"running": {}}}
            ],
        },
    }


PROXY: dict[str, Any] = {
    "ownerReferences": [{"kind": "DaemonSet", "name": "proxy", "controller": True}]
}
STATIC: dict[str, Any] = {"annotations": {"kubernetes.io/config.mirror": "hash"}}
PODS = (pod("proxy-x", **PROXY), pod("etcd-worker-1", **STATIC))
READING = Reading(node=NODE, pods=PODS, since=SWITCHED)


def bad(checks: tuple[Check, ...]) -> list[str]:
    return [check.name for check in checks if not check.ok]


def on_node(**changes: str) -> list[str]:
    return bad(proof.judge_node(BEFORE, READING, FACTS | changes, CANARY))


def test_a_working_node_is_proven() -> None:
    """Everything holds: no check fails, and the summary says so."""
    checks = proof.judge_cluster(BEFORE, READING)
    checks += proof.judge_node(BEFORE, READING, FACTS, CANARY)
    assert bad(checks) == []
    assert proof.summary(checks) == "every check holds"


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        ({"ready": False, "not_ready_reason": "CNI"}, "ready"),
        ({"heartbeat": SWITCHED}, "heartbeat"),
        ({"heartbeat": None}, "heartbeat"),
        ({"runtime": "docker://20.10.24"}, "runtime"),
        ({"allocatable": {"cpu": "2"}}, "allocatable"),
        ({"allocatable": {"cpu": "1", "memory": "1Gi"}}, "allocatable"),
        ({"taints": ("node.kubernetes.io/disk-pressure=:NoSchedule",)}, "taints"),
    ],
)
def test_what_the_node_object_gives_away(change: dict[str, Any], failing: str) -> None:
    """A stale Ready, an old runtime, lost resources and new taints are each seen."""
    reading = replace(READING, node=replace(NODE, **change))
    assert bad(proof.judge_cluster(BEFORE, reading)) == [failing]


ECHO = ("node.kubernetes.io/not-ready=:NoExecute", *BEFORE.taints)


def test_the_echo_of_not_ready_is_not_waited_for() -> None:
    """The node says that it is Ready; the node controller only follows."""
    late = replace(NODE, taints=ECHO)
    assert bad(proof.judge_cluster(BEFORE, replace(READING, node=late))) == []


@pytest.mark.parametrize(
    ("pods", "failing"),
    [
        ((pod("proxy-x", "docker://1", **PROXY), PODS[1]), ["containers"]),
        ((*PODS, pod("web", "docker://1")), ["containers"]),
        ((*PODS, pod("web", "docker://1", deletionTimestamp="now")), []),
        (PODS[:1], ["daemons"]),
        ((pod("proxy-x", ready=False, **PROXY), PODS[1]), ["daemons"]),
        ((pod("proxy-x", deletionTimestamp="now", **PROXY), PODS[1]), ["daemons"]),
        ((*PODS, pod("proxy-y", ready=False, **PROXY)), []),
    ],
)
def test_what_the_pods_give_away(pods: tuple[dict[str, Any], ...], failing: list[str]) -> None:
    """Running containers are containerd's, and what must come back has come back Ready."""
    assert bad(proof.judge_cluster(BEFORE, replace(READING, pods=pods))) == failing


def test_waiting_containers_have_no_runtime_yet() -> None:
    """A crashing pod's old ID is not a container that runs."""
    crashing = pod("web", "docker://1")
    crashing["status"]["containerStatuses"][0]["state"] = {"waiting": {}}
    assert bad(proof.judge_cluster(BEFORE, replace(READING, pods=(*PODS, crashing)))) == []


def test_what_was_unhealthy_before_is_exempt() -> None:
    """A DaemonSet pod that was not Ready before the run does not roll it back."""
    before = replace(BEFORE, daemons={**BEFORE.daemons, "ds/kube-system/broken": False})
    assert bad(proof.judge_cluster(before, READING)) == []


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        ({"kubelet_active": "no"}, ["services"]),
        ({"containerd_active": "no"}, ["services"]),
        ({"kubelet_started": str(int(BEAT.timestamp()) + 1)}, ["kubelet"]),
        ({"kubelet_started": ""}, ["kubelet"]),
        ({"kubelet_cmdline": "/usr/bin/kubelet --network-plugin=cni"}, ["endpoint"]),
        ({"kubelet_cmdline": "/usr/bin/kubelet", "kubelet_config_endpoint": SOCKET}, []),
        ({"kubelet_cmdline": f"kubelet --container-runtime-endpoint {SOCKET}"}, []),
        ({"kubelet_cmdline": f"{KUBELET}=/var/run/containerd/containerd.sock"}, []),
        ({"socket_server": "none"}, ["socket"]),
        ({"socket_listeners": "2"}, ["socket"]),
        ({"docker_active": "yes", "docker_kubernetes": "3"}, ["leftovers"]),
        ({"docker_active": "yes", "docker_kubernetes": "0", "moby_shims": "2"}, []),
        ({"moby_shims": "2"}, ["leftovers"]),
        ({"cgroup_mismatch": "1"}, ["cgroup"]),
        ({"cgroup_cgroupfs": "1"}, ["cgroup"]),
    ],
)  # fmt: skip
def test_what_the_machine_gives_away(change: dict[str, str], failing: list[str]) -> None:
    """Each lie of a node that looks Ready from outside: taken socket, leftovers, wrong driver."""
    assert on_node(**change) == failing


def test_driver_of_cgroupfs_nodes() -> None:
    """A node that uses cgroupfs must go on using it."""
    before = replace(BEFORE, cgroup_driver="cgroupfs")
    facts = FACTS | {"cgroup_systemd": "0", "cgroup_cgroupfs": "4"}
    assert bad(proof.judge_node(before, READING, facts, CANARY)) == []
    assert bad(proof.judge_node(before, READING, FACTS, CANARY)) == ["cgroup"]


@pytest.mark.parametrize(
    ("canary", "failing"),
    [
        (None, []),
        (CanaryResult(checks={}), ["canary"]),
        (CanaryResult(checks={"pulled": True, "exec": False}), ["canary"]),
        (replace(CANARY, cgroup="4:cpu:/x.slice:cri-containerd:1"), ["cgroup"]),
    ],
)
def test_canary(canary: CanaryResult | None, failing: list[str]) -> None:
    """The canary must have shown everything; without one, nothing is asked of it."""
    assert bad(proof.judge_node(BEFORE, READING, FACTS, canary)) == failing


LEAVING = CanaryResult(
    checks={"exec": True, "terminated": False}, leaving="uid-1", message="leaving"
)


@pytest.mark.parametrize(
    ("said", "failing"),
    [
        ({"pod_uids": ""}, []),
        ({"pod_uids": "uid-11 uid-2"}, []),
        ({"pod_uids": "uid-2 uid-1"}, ["canary"]),
        ({}, ["canary"]),
    ],
)
def test_the_node_tells_that_the_canary_is_gone(said: dict[str, str], failing: list[str]) -> None:
    """No process left in its cgroups: as good as the API server's word, and sooner."""
    assert bad(proof.judge_node(BEFORE, READING, FACTS | said, LEAVING)) == failing


def test_a_canary_that_is_gone_too_early_is_no_proof() -> None:
    """Its absence shows nothing when it has not shown the rest before."""
    early = replace(LEAVING, checks={"exec": False, "terminated": False})
    facts = FACTS | {"pod_uids": ""}
    assert bad(proof.judge_node(BEFORE, READING, facts, early)) == ["canary"]


RESTORED: Mapping[str, str] = FACTS | {
    "kubelet_cmdline": "/usr/bin/kubelet --network-plugin=cni",
    "docker_active": "yes",
    "docker_kubernetes": "4",
    "moby_shims": "4",
    "ctr_tasks": "0",
}


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        ({}, []),
        ({"docker_active": "no"}, ["services"]),
        ({"containerd_active": "no"}, []),
        ({"ctr_tasks": "4"}, ["leftovers"]),
        ({"kubelet_cmdline": FACTS["kubelet_cmdline"]}, ["endpoint"]),
    ],
)
def test_the_way_back_is_proven_too(change: dict[str, str], failing: list[str]) -> None:
    """After a rollback the same holds for Docker, and no pod was left running twice."""
    pods = tuple(
        pod(p["metadata"]["name"], "docker://1", **m)
        for p, m in zip(PODS, (PROXY, STATIC), strict=True)
    )
    reading = replace(
        READING, node=replace(NODE, runtime="docker://20.10.24"), pods=pods, runtime="docker"
    )
    assert bad(proof.judge_cluster(BEFORE, reading)) == []
    assert bad(proof.judge_node(BEFORE, reading, {**RESTORED, **change}, None)) == failing
    late = replace(reading, node=replace(reading.node, taints=ECHO))
    assert bad(proof.judge_cluster(BEFORE, late)) == ["taints"], "as it was means without it"


def test_the_old_cri_dockerd_endpoint_must_be_back() -> None:
    """A node that came from cri-dockerd is proven on its own old endpoint."""
    before = replace(BEFORE, endpoint="unix:///var/run/cri-dockerd.sock")
    reading = replace(READING, runtime="docker")
    facts = {
        **RESTORED,
        "kubelet_cmdline": "kubelet --container-runtime-endpoint=unix:///run/cri-dockerd.sock",
    }
    assert "endpoint" not in bad(proof.judge_node(before, reading, facts, None))
    assert "endpoint" in bad(proof.judge_node(before, reading, RESTORED, None))


def test_baseline_survives_the_nodes_memory() -> None:
    """The baseline is kept on the node as JSON and comes back the same."""
    assert Baseline.from_json(json.loads(json.dumps(BEFORE.as_json()))) == BEFORE
    assert bad(proof.judge_cluster(Baseline.from_json({}), READING)) == ["taints"]


def test_facts_are_key_value_lines() -> None:
    """Values may hold '='; lines without one are noise."""
    text = "Warning: x\nnow=1\nkubelet_cmdline=kubelet --a=b  \n"
    assert proof.parse_facts(text) == {"now": "1", "kubelet_cmdline": "kubelet --a=b"}


def test_the_summary_names_what_is_missing() -> None:
    """A person reads which check fails and what was seen."""
    node = replace(NODE, runtime="docker://20.10.24")
    said = proof.summary(proof.judge_cluster(BEFORE, replace(READING, node=node)))
    assert said == "runtime: the Node object says docker://20.10.24"
