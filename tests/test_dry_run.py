"""What an audit leaves behind: plan and report of a dry run, of a refused run, of no run at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.fakes import MASTER, FakeMachine, FakeMachines, control_plane, pod
from tests.test_engine import FACTS, OPTIONS, RUN, Operator
from unshim.core import facts_parse
from unshim.core.facts import DockerContainer, NodeFacts
from unshim.core.objects import Node
from unshim.core.plan import NodePlan
from unshim.core.status import Progress
from unshim.core.steps import ScriptStep
from unshim.engine import in_depth
from unshim.engine.session import Session
from unshim.errors import StepFailed

DRY = replace(OPTIONS, dry_run=True)
FOREIGN = DockerContainer(id="f" * 64, name="jenkins", image="jenkins:1", state="running")
ASKS = {"node:connect", "node:show", "node:facts", "node:unpullable", "api:evict"}


@pytest.fixture(scope="module")
def sample() -> NodeFacts:
    """What a real worker of the lab said."""
    return replace(facts_parse.parse(FACTS.read_text()), runs=())


@pytest.fixture
def with_jenkins(sample: NodeFacts) -> NodeFacts:
    assert sample.docker is not None
    docker = replace(sample.docker, containers=(*sample.docker.containers, FOREIGN))
    return replace(sample, docker=docker)


@pytest.fixture
def unexplained(sample: NodeFacts) -> NodeFacts:
    """The kubelet runs with a runtime flag that no file of the node holds: an edit refuses."""
    assert sample.kubelet is not None
    argv = (*sample.kubelet.argv, "--container-runtime=docker")
    return replace(sample, kubelet=replace(sample.kubelet, argv=argv))


def dry(facts: NodeFacts, *, migration: str = "m1", **cluster: Any) -> Operator:
    return asked(facts, DRY, migration, **cluster)


def asked(facts: NodeFacts, options: Any, migration: str = "m1", **cluster: Any) -> Operator:
    operator = Operator(facts)
    for name, value in cluster.items():
        setattr(operator.cluster, name, value)
    operator.session = Session(
        run=RUN,
        options=options,
        holder="me",
        publish=operator.told.append,
        migration=migration,
    )
    return operator


def report(operator: Operator) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(operator.cluster.reports["m1"]["report.json"])
    return found


def blockers(progress: Progress) -> set[tuple[str, str]]:
    return {(f["rule"], f["subject"]) for f in progress.findings if f["severity"] == "blocker"}


def test_a_dry_run_leaves_a_report_and_nothing_else(sample: NodeFacts) -> None:
    """Status and ConfigMap say the same; the node and the Node object were only asked."""
    operator = dry(sample)
    ended = operator.play()
    assert (ended.phase, ended.reason) == ("Audited", "NothingBlocks")
    assert ended.report == "unshim-system/report-m1"
    assert "Nothing was changed. The full report is in ConfigMap" in ended.message
    told = report(operator)
    assert [f["rule"] for f in told["findings"]] == [f["rule"] for f in ended.findings]
    steps = told["plans"]["worker-1"]["steps"]
    assert [(s["step"], s["state"]) for s in steps] == [(p["step"], p["state"]) for p in ended.plan]
    assert set(operator.world.trace) <= ASKS | {"api:keep-report"}
    assert operator.machine.entries == []


def test_a_refused_run_leaves_a_report_too(with_jenkins: NodeFacts) -> None:
    """Findings and plan, so that a person sees all that is in the way at once."""
    operator = asked(with_jenkins, OPTIONS)
    ended = operator.play()
    assert (ended.phase, ended.reason) == ("Refused", "Blocked")
    assert ended.report == "unshim-system/report-m1"
    assert "unshim-system/report-m1" in ended.message
    assert report(operator)["blocked"] is True
    assert report(operator)["plans"]["worker-1"]["steps"]
    assert set(operator.world.trace) <= ASKS | {"api:keep-report"}


@pytest.mark.parametrize("options", [DRY, OPTIONS], ids=["dry", "refused"])
def test_a_report_that_cannot_be_written_holds_nothing_up(
    with_jenkins: NodeFacts, options: Any
) -> None:
    """The run ends as it would have, and its status says that the report is missing, and why."""
    operator = asked(with_jenkins, options, no_reports=True)
    ended = operator.play()
    assert ended.phase == ("Audited" if options.dry_run else "Refused")
    assert ended.report == ""
    assert "forbids" in ended.report_error
    assert "could not be written" in ended.message
    assert blockers(ended) == {("foreign-containers", "Node/worker-1")}


def test_a_run_from_the_command_line_writes_no_report(sample: NodeFacts) -> None:
    """There is no object that could own it; what was found is printed."""
    operator = dry(sample, migration="")
    ended = operator.play()
    assert ended.phase == "Audited"
    assert (ended.report, ended.report_error) == ("", "")
    assert "api:keep-report" not in operator.world.trace
    assert ended.message.endswith("Nothing was changed.")


def test_a_successful_run_leaves_no_report(sample: NodeFacts) -> None:
    """Reports are for audits; a run's story is in its journal."""
    operator = asked(sample, OPTIONS)
    assert operator.play().phase == "Succeeded"
    assert operator.cluster.reports == {}


def test_a_node_that_an_edit_refuses_has_findings_and_no_plan(unexplained: NodeFacts) -> None:
    """Dry and real: both end with the finding, and neither shows half a plan."""
    looked, ran = dry(unexplained), asked(unexplained, OPTIONS)
    dry_end, real_end = looked.play(), ran.play()
    assert (dry_end.phase, dry_end.reason) == ("Audited", "Blocked")
    assert (real_end.phase, real_end.reason) == ("Refused", "Blocked")
    assert blockers(dry_end) == blockers(real_end)
    assert "edit-refused" in {rule for rule, _ in blockers(dry_end)}
    assert dry_end.plan == ()
    assert report(looked)["plans"] == {}


class BrokenChecks(FakeMachine):
    """A node whose shell cannot run the checks."""

    def checks(
        self, steps: Sequence[ScriptStep], variables: Mapping[str, str]
    ) -> Mapping[str, int]:
        raise StepFailed("base64: not found")


@dataclass
class BrokenMachines(FakeMachines):
    def open(self, node: Node, run: str) -> FakeMachine:
        return BrokenChecks(self.world, self.node, self.sample)


def test_checks_that_cannot_run_are_not_guessed(with_jenkins: NodeFacts) -> None:
    """The plan says so, and a refused run stays a refusal."""
    operator = asked(with_jenkins, OPTIONS)
    broken = BrokenMachines(operator.world, operator.machine, with_jenkins)
    operator.tools = replace(operator.tools, machines=broken)
    ended = operator.play()
    assert (ended.phase, ended.reason) == ("Refused", "Blocked")
    states = {step["state"] for step in ended.plan}
    assert "cannot tell" in states


CANARY = "registry.lab:5000/unshim/canary:1"


def test_an_image_that_no_registry_gives_refuses_the_run(sample: NodeFacts) -> None:
    """Dry and real: the registry's words, and nothing was touched."""
    for options in (DRY, OPTIONS):
        operator = asked(sample, options)
        operator.machine.unpullable = {CANARY: "not found", "nobody/asks:1": "not found"}
        ended = operator.play()
        assert blockers(ended) == {("image-pull-fails", "Node/worker-1")}
        assert f"{CANARY} on worker-1: not found" in str(ended.findings)
        assert set(operator.world.trace) <= ASKS | {"api:keep-report"}


def test_an_accepted_image_is_not_rehearsed_again(sample: NodeFacts) -> None:
    """What a person has accepted by its rule does not stop the stage either."""
    options = replace(OPTIONS, ignore_rules=("image-pull-fails=the mirror is down today",))
    rehearsed = []
    for why in ({}, {CANARY: "not found"}):
        operator = asked(sample, options)
        operator.machine.unpullable = dict(why)
        assert operator.play().phase == "Succeeded"
        rehearsed.append(CANARY in operator.machine.environment)
    assert rehearsed == [True, False]


def plan_of(operator: Operator) -> NodePlan | None:
    return operator.session.plan


def test_an_audit_without_a_run_tells_the_same_plan(sample: NodeFacts) -> None:
    """One piece of code: `unshim audit NODE` and a dry run cannot differ. One connection."""
    operator = dry(sample)
    operator.play()
    alone = Operator(sample)
    pods = alone.cluster.pods_on("worker-1")
    seen = in_depth.look(alone.tools, OPTIONS, pods, rehearse=True)
    assert seen.plan == plan_of(operator)
    assert seen.facts == sample
    assert set(seen.evictions) == {"apps/web-1"}
    assert alone.world.trace == ["api:evict", "node:connect", "node:facts", "node:unpullable"]
    assert alone.cluster.lease_holder == ""


@pytest.mark.parametrize("options", [DRY, OPTIONS], ids=["dry", "refused"])
def test_a_run_knows_the_quorum(sample: NodeFacts, options: Any) -> None:
    """One of three control planes is down: taking a second one is refused, dry or not."""
    peers = (control_plane("cp-2"), control_plane("cp-3", ready=False))
    ended = asked(sample, options, labels=MASTER, peers=peers).play()
    assert ("etcd-quorum", "Node/worker-1") in blockers(ended)


def test_a_whole_quorum_does_not_stand_in_the_way(sample: NodeFacts) -> None:
    """Three healthy control planes can spare one."""
    peers = (control_plane("cp-2"), control_plane("cp-3"))
    ended = asked(sample, DRY, labels=MASTER, peers=peers).play()
    assert "etcd-quorum" not in {f["rule"] for f in ended.findings}
    assert "single-control-plane" not in {f["rule"] for f in ended.findings}


def test_the_only_control_plane_is_told(sample: NodeFacts) -> None:
    """No peer has the role: the rule speaks, which it cannot without the list."""
    worker = replace(control_plane("worker-2", ready=True), labels={})
    ended = asked(sample, DRY, labels=MASTER, peers=(worker,)).play()
    assert "single-control-plane" in {f["rule"] for f in ended.findings}


def test_pods_of_a_deleted_daemon_set_refuse_the_run_before_it_begins(sample: NodeFacts) -> None:
    """The drain would refuse them after the cordon; the audit does so before."""
    gone = frozenset({"apps/agent"})
    looked, ran = dry(sample, deleted=gone), asked(sample, OPTIONS, deleted=gone)
    assert blockers(looked.play()) == {("drain-refused", "Pod/apps/agent")}
    ended = ran.play()
    assert (ended.phase, blockers(ended)) == ("Refused", {("drain-refused", "Pod/apps/agent")})
    forced = replace(OPTIONS, drain=replace(OPTIONS.drain, force=True), dry_run=True)
    assert blockers(asked(sample, forced, deleted=gone).play()) == set()


def hooked(name: str, node: str, **more: Any) -> Any:
    """A Deployment's pod that answers the webhook."""
    body = pod(name, "ReplicaSet", "docker")
    metadata = {**body["metadata"], "labels": {"app": "guard"}}
    return {**body, "metadata": metadata, "spec": {**body["spec"], "nodeName": node, **more}}


GUARD: Any = {
    "kind": "ValidatingWebhookConfiguration",
    "apiVersion": "admissionregistration.k8s.io/v1",
    "metadata": {"name": "guard"},
    "webhooks": [
        {
            "name": "a.b.c",
            "rules": [{"apiGroups": [""], "operations": ["CREATE"], "resources": ["pods"]}],
            "clientConfig": {"service": {"namespace": "apps", "name": "guard"}},
        }
    ],
}
SERVICE: Any = {
    "kind": "Service",
    "metadata": {"name": "guard", "namespace": "apps"},
    "spec": {"selector": {"app": "guard"}},
}


def test_a_webhook_that_would_lock_itself_out_refuses_the_run(sample: NodeFacts) -> None:
    """Nothing is touched; with a second pod on another node the same run goes through."""
    world: dict[str, Any] = {"configurations": (GUARD,), "services": (SERVICE,)}
    here, there = hooked("guard-1", "worker-1"), hooked("guard-2", "worker-2")
    refused = asked(sample, OPTIONS, more_pods=(here,), **world)
    ended = refused.play()
    wanted = {("admission-webhook", "ValidatingWebhookConfiguration/guard")}
    assert (ended.phase, blockers(ended)) == ("Refused", wanted)
    assert set(refused.world.trace) <= {*ASKS, "api:keep-report"}
    assert blockers(dry(sample, more_pods=(here,), **world).play()) == wanted
    served = asked(sample, OPTIONS, more_pods=(here,), elsewhere=(there,), **world)
    assert served.play().phase == "Succeeded"


def test_a_run_knows_what_the_owner_accepts(sample: NodeFacts) -> None:
    """The annotation is on the controller, which no pod speaks of."""
    socket = [{"name": "s", "hostPath": {"path": "/var/run/docker.sock"}}]
    world: dict[str, Any] = {"more_pods": (hooked("ci", "worker-1", volumes=socket),)}
    owner = {"name": "ci", "namespace": "apps"}
    note = {"ignore.unshim.dev/docker-socket": "gone in May"}
    bare, noted = (
        {"kind": "ReplicaSet", "metadata": m, "spec": {}}
        for m in (owner, {**owner, "annotations": note})
    )
    ended = asked(sample, OPTIONS, controllers=(bare,), **world).play()
    assert (ended.phase, blockers(ended)) == ("Refused", {("docker-socket", "ReplicaSet/apps/ci")})
    assert asked(sample, OPTIONS, controllers=(noted,), **world).play().phase == "Succeeded"
