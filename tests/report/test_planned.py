"""What a migration would cost, in numbers that were measured."""

from __future__ import annotations

from typing import Any

from tests.audit import loading
from unshim.audit.survey import NodeView, survey
from unshim.core.plan import PlannedStep
from unshim.report import planned

STEP = PlannedStep(step="kubelet-flags", summary="to containerd", state="would apply")


def view(raw: dict[str, Any]) -> NodeView:
    return survey(loading.snapshot({"targets": [loading.NODE], **raw})).nodes[0]


def daemon(name: str) -> dict[str, Any]:
    owner = {"kind": "DaemonSet", "name": name, "controller": True}
    meta = {"name": name, "namespace": "a", "uid": name, "ownerReferences": [owner]}
    container = {"name": "c", "image": "k8s.gcr.io/kube-proxy:v1.20.2"}
    spec = {"nodeName": loading.NODE, "containers": [container]}
    return {"metadata": meta, "spec": spec, "status": {"phase": "Running"}}


def test_an_empty_node_is_down_for_the_floor() -> None:
    """Where no pod stays, only the services' restart counts."""
    assert planned.down_seconds(view({"whole_cluster": False})) == (3, 3)


def test_pods_that_stay_may_take_their_time_to_stop() -> None:
    """A container that ignores SIGTERM is killed after ten seconds."""
    assert planned.down_seconds(view({"whole_cluster": False, "pods": [daemon("x")]})) == (3, 13)


def test_a_black_hole_costs_nine_seconds() -> None:
    """Off the clouds, an old kubelet may wait for a metadata service."""
    node = {"spec": {"providerID": ""}}
    assert planned.down_seconds(view({"whole_cluster": False, "node": node})) == (3, 12)


def test_a_plan_has_steps_and_images() -> None:
    """The dry run's steps and what is to be copied are in one place."""
    node = view({"whole_cluster": False, "pods": [daemon("x")]})
    assert node.facts is not None
    plan = planned.node_plan([STEP], node, node.facts)
    assert plan.steps[0].step == "kubelet-flags"
    assert [size for _, size in plan.handover] == [683000, 118400000]
    assert plan.image_bytes == 118400000 + 683000
