"""Audit, dry run and run never disagree: what one calls a blocker, all do, and the rest succeeds.

Refusals touch nothing, so most of these scenarios share one lab and take seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests import operator_process as unshim
from tests.integration import audited, observing
from tests.integration.observing import MARKS
from tests.lab import Lab

pytestmark = MARKS

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


@dataclass(frozen=True)
class Scenario:
    """Scenes to set, flags to give, and the blockers that every face must name."""

    name: str
    scenes: tuple[Scene, ...] = ()
    flags: tuple[str, ...] = DELETE
    blockers: tuple[tuple[str, str], ...] = ()


REFUSED = (
    Scenario(
        "a foreign container",
        (foreign,),
        blockers=(("foreign-containers", f"Node/{NODE}"),),
    ),
    Scenario(
        "a pod with Docker's socket",
        (objects(CI),),
        blockers=(("docker-socket", "Deployment/apps/ci"),),
    ),
    Scenario(
        "Docker's socket through a claim",
        (objects(*volume()),),
        blockers=(("docker-socket", "Deployment/apps/hidden"),),
    ),
    Scenario(
        "a RuntimeClass of Docker's",
        (objects(*handler()),),
        blockers=(("runtime-class", "Deployment/apps/classed"),),
    ),
    Scenario(
        "a pod that no controller owns",
        (objects(LONELY),),
        blockers=(("drain-refused", "Pod/apps/lonely"),),
    ),
    Scenario(
        "emptyDir data without a yes",
        (database_here,),
        flags=(),
        blockers=(("drain-refused", "Pod/apps/db-0"),),
    ),
    Scenario(
        "two budgets for one pod",
        (
            objects(
                HELD, budget("b1", "held", minAvailable=0), budget("b2", "held", minAvailable=0)
            ),
        ),
        blockers=(("eviction-blocked", "Pod/apps/held-"),),
    ),
    Scenario(
        "a canary whose image no registry has",
        flags=(*DELETE, "--canary-image", GONE),
        blockers=(("image-pull-fails", f"Node/{NODE}"),),
    ),
    Scenario(
        "all at once",
        (foreign, objects(CI, LONELY), database_here),
        flags=(),
        blockers=(
            ("foreign-containers", f"Node/{NODE}"),
            ("docker-socket", "Deployment/apps/ci"),
            ("drain-refused", "Pod/apps/lonely"),
            ("drain-refused", "Pod/apps/db-0"),
        ),
    ),
)
FREE = (
    Scenario("a plain worker, and a CronJob that does not run", (objects(sleeper()),)),
    Scenario("a pod whose image nobody has", (broken,), (*DELETE, "--force")),
    Scenario("a foreign container that is kept", (foreign,), (*DELETE, "--keep-docker")),
    Scenario(
        "an admin's cordon and a pod that may go", (cordoned, objects(LONELY)), (*DELETE, "--force")
    ),
)


def names(scenario: Scenario) -> str:
    return scenario.name


@pytest.mark.parametrize("scenario", REFUSED, ids=names)
def test_what_is_refused_is_refused_by_all(lab: Lab, scenario: Scenario) -> None:
    """The same blockers three times, and nothing was touched."""
    with ExitStack() as stack:
        for scene in scenario.scenes:
            stack.enter_context(scene(lab))
        before = observing.see(lab, NODE)
        assert _short(_looked(lab, scenario)) == set(scenario.blockers)
        ran, code = _ran(lab, scenario)
        assert code == 1, ran
        assert _short(audited.blockers(ran)) == set(scenario.blockers)
        assert "Refused (Blocked)" in ran
        observing.assert_same(before, observing.see(lab, NODE))
        assert "unshim.dev/cordoned" not in lab.node_object(NODE)["metadata"]["annotations"]


@pytest.mark.parametrize("scenario", FREE, ids=names)
def test_what_is_free_to_go_goes(lab: Lab, scenario: Scenario) -> None:
    """No blocker in either look; the run then succeeds, and comes back."""
    with ExitStack() as stack:
        for scene in scenario.scenes:
            stack.enter_context(scene(lab))
        assert _looked(lab, scenario) == set()
        ran, code = _ran(lab, scenario)
        assert code == 0, ran
        assert "Succeeded" in ran
        assert observing.is_on(lab, NODE, "containerd://")
        back = unshim.cli(lab, "rollback", NODE, *DELETE, "--force")
        assert back.returncode == 0, back.stdout + back.stderr


def test_a_budget_without_headroom_is_a_warning_and_the_run_waits(lab: Lab) -> None:
    """It may have room in a minute: both looks warn, and the run gives up at its time limit."""
    scenario = Scenario("", flags=(*DELETE, "--timeout", "6"))
    with objects(HELD, budget("tight", "held", maxUnavailable=0))(lab):
        looks = [_audit(lab, scenario), _dry(lab, scenario)]
        for text in looks:
            assert audited.blockers(text) == set()
            assert "eviction-blocked" in text
        before = observing.see(lab, NODE)
        ran, code = _ran(lab, scenario)
        assert (code, "DrainTimedOut" in ran) == (1, True), ran
        observing.assert_same(before, observing.see(lab, NODE))


def _looked(lab: Lab, scenario: Scenario) -> set[tuple[str, str]]:
    """What audit and dry run call blockers: they must be the same ones."""
    audit, dry = _audit(lab, scenario), _dry(lab, scenario)
    assert audited.blockers(audit) == audited.blockers(dry), audit + dry
    return audited.blockers(dry)


def _audit(lab: Lab, scenario: Scenario) -> str:
    done = unshim.cli(lab, "audit", NODE, *scenario.flags)
    assert done.returncode == (1 if audited.blockers(done.stdout) else 0), done.stderr
    return done.stdout


def _dry(lab: Lab, scenario: Scenario) -> str:
    done = unshim.cli(lab, "migrate", NODE, "--dry-run", *scenario.flags)
    assert done.returncode == (1 if audited.blockers(done.stdout) else 0), done.stderr
    return done.stdout


def _ran(lab: Lab, scenario: Scenario) -> tuple[str, int]:
    done = unshim.cli(lab, "migrate", NODE, *scenario.flags)
    return done.stdout + done.stderr, done.returncode


def _short(found: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Without the random end of a pod's name."""
    held = "Pod/apps/held-"
    return {(rule, held if at.startswith(held) else at) for rule, at in found}
