"""What the lab may look like before a run: objects, foreign containers, cordons, broken pods."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from tests.integration import observing
from tests.lab import Lab

NODE = "worker-1"
IMAGE = "registry.lab:5000/apps/web:1"
SOCKET = {"name": "sock", "hostPath": {"path": "/var/run/docker.sock"}}
DELETE = ("--delete-emptydir-data",)
Scene = Callable[[Lab], Any]  # a context manager


def template(app: str, **spec: Any) -> dict[str, Any]:
    """A pod of NODE; a volume, if any, is mounted."""
    mounts = [{"name": v["name"], "mountPath": "/there"} for v in spec.get("volumes", ())]
    container = {"name": "c", "image": IMAGE, "volumeMounts": mounts}
    kept = {"terminationGracePeriodSeconds": 1, "nodeName": NODE, "containers": [container], **spec}
    return {"metadata": {"labels": {"app": app}}, "spec": kept}


def deployment(app: str, **spec: Any) -> dict[str, Any]:
    wanted = {"selector": {"matchLabels": {"app": app}}, "template": template(app, **spec)}
    return {**kind("apps/v1", "Deployment", app), "spec": wanted}


def kind(version: str, name_of_kind: str, name: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "apps"}
    return {"apiVersion": version, "kind": name_of_kind, "metadata": metadata}


def budget(name: str, app: str, **spec: Any) -> dict[str, Any]:
    body = kind("policy/v1beta1", "PodDisruptionBudget", name)
    return {**body, "spec": {"selector": {"matchLabels": {"app": app}}, **spec}}


def sleeper() -> dict[str, Any]:
    """Docker's socket in a template of which no pod exists."""
    spec = template("nightly", volumes=[SOCKET], restartPolicy="Never")
    job = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": spec}}}
    return {**kind("batch/v1beta1", "CronJob", "nightly"), "spec": job}


def volume() -> tuple[dict[str, Any], ...]:
    """Docker's socket through a claim: the pod's own text does not say so."""
    space = {"capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteOnce"]}
    there = {"storageClassName": "", "hostPath": {"path": "/var/run/docker.sock"}}
    persistent = {**kind("v1", "PersistentVolume", "sock"), "spec": {**space, **there}}
    persistent["metadata"] = {"name": "sock"}
    asked = {"resources": {"requests": {"storage": "1Mi"}}, "accessModes": ["ReadWriteOnce"]}
    more = {"storageClassName": "", "volumeName": "sock"}
    claim = {**kind("v1", "PersistentVolumeClaim", "sock"), "spec": {**asked, **more}}
    mounted = {"name": "v", "persistentVolumeClaim": {"claimName": "sock"}}
    return persistent, claim, deployment("hidden", volumes=[mounted])


def handler() -> tuple[dict[str, Any], ...]:
    """A RuntimeClass of dockershim's, which containerd does not know."""
    made = {**kind("node.k8s.io/v1", "RuntimeClass", "docker"), "handler": "docker"}
    made["metadata"] = {"name": "docker"}
    return made, deployment("classed", runtimeClassName="docker")


def objects(*bodies: dict[str, Any]) -> Scene:
    """Objects that are there, with their pods Ready and their budgets counted."""

    @contextmanager
    def scene(lab: Lab) -> Iterator[None]:
        text = yaml.safe_dump_all(bodies)
        lab.kubectl("apply", "-f", "-", input=text)
        try:
            lab.wait(lambda: _settled(lab, bodies), 90, "the scene's objects")
            yield
        finally:
            lab.kubectl("delete", "--ignore-not-found", "-f", "-", input=text)
            apps = {body["metadata"]["name"] for body in bodies}
            lab.wait(lambda: not apps & _apps(lab), 60, "the scene's pods to go")

    return scene


def _settled(lab: Lab, bodies: tuple[dict[str, Any], ...]) -> bool:
    for body in bodies:
        name = body["metadata"]["name"]
        there = lab.get(body["kind"].lower(), "-n", "apps", name)
        status = there.get("status", {})
        if body["kind"] == "Deployment" and not status.get("readyReplicas"):
            return False
        if body["kind"] == "Pod" and not observing.ready(there):
            return False
        if body["kind"] == "PodDisruptionBudget" and not status.get("currentHealthy"):
            return False
    return True


def _apps(lab: Lab) -> set[str]:
    pods = lab.get("pods", "-n", "apps")["items"]
    return {pod["metadata"].get("labels", {}).get("app", "") for pod in pods}


@contextmanager
def foreign(lab: Lab) -> Iterator[None]:
    lab.start_foreign(NODE)
    yield
    assert lab.node(NODE).exec("docker inspect -f '{{.State.Running}}' legacy").stdout == "true\n"
    lab.node(NODE).exec("docker rm -f legacy")


@contextmanager
def cordoned(lab: Lab) -> Iterator[None]:
    lab.kubectl("cordon", NODE)
    yield
    assert not observing.schedulable(lab, NODE), "an admin's cordon stays"
    lab.kubectl("uncordon", NODE)


@contextmanager
def database_here(lab: Lab) -> Iterator[None]:
    """The StatefulSet with an emptyDir has its pod on the node."""
    if not any(p["metadata"]["name"] == "db-0" for p in observing.pods_on(lab, NODE)):
        lab.kubectl("cordon", "worker-2")
        lab.kubectl("delete", "pod", "-n", "apps", "db-0")
        lab.wait_ready()
        lab.kubectl("uncordon", "worker-2")
    yield


@contextmanager
def broken(lab: Lab) -> Iterator[None]:
    """A pod that waits for an image which nobody could pull, today or after the move."""
    text = yaml.safe_dump(BROKEN)
    lab.kubectl("apply", "-f", "-", input=text)
    lab.wait(lambda: "ErrImagePull" in _waits(lab) or "BackOff" in _waits(lab), 60, "the pull")
    yield
    lab.kubectl("delete", "--ignore-not-found", "-f", "-", input=text)


def _waits(lab: Lab) -> str:
    pod = lab.get("pod", "-n", "apps", BROKEN["metadata"]["name"])
    statuses = pod["status"].get("containerStatuses", [])
    return "".join(status["state"].get("waiting", {}).get("reason", "") for status in statuses)


LONELY: dict[str, Any] = {**kind("v1", "Pod", "lonely"), **template("lonely")}
LONELY["metadata"] = {"name": "lonely", "namespace": "apps", "labels": {"app": "lonely"}}
GONE = "registry.lab:5000/apps/gone:1"
BROKEN: dict[str, Any] = {**kind("v1", "Pod", "broken"), **template("broken")}
BROKEN["metadata"] = {"name": "broken", "namespace": "apps", "labels": {"app": "broken"}}
BROKEN["spec"] = {**BROKEN["spec"], "containers": [{"name": "c", "image": GONE}]}
CI = deployment("ci", volumes=[SOCKET])
HELD = deployment("held")
