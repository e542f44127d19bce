"""The same objects, listed whole for an audit and read one by one by a run: the same blockers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from tests.cluster import objects
from tests.cluster.api import Fault, Server
from tests.fakes import START
from tests.test_engine import FACTS, OPTIONS, RUN, Operator
from unshim.audit import audit
from unshim.audit.finding import Finding
from unshim.audit.snapshot import Snapshot
from unshim.cluster import Api, KubernetesCluster, listing
from unshim.core import facts_parse
from unshim.core.decide import View
from unshim.engine import preflight
from unshim.engine.session import Session

SAMPLE = replace(facts_parse.parse(FACTS.read_text()), runs=())
HERE, ELSEWHERE = "worker-1", "worker-2"
SOCKET = [{"name": "s", "hostPath": {"path": "/var/run/docker.sock"}}]
MASTER = {"node-role.kubernetes.io/master": ""}
#: Where each kind is kept, in one namespace.
FOLDERS = {
    "Pod": "/api/v1/namespaces/shop/pods",
    "Service": "/api/v1/namespaces/shop/services",
    "Deployment": "/apis/apps/v1/namespaces/shop/deployments",
    "ReplicaSet": "/apis/apps/v1/namespaces/shop/replicasets",
    "Job": "/apis/batch/v1/namespaces/shop/jobs",
    "CronJob": "/apis/batch/v1beta1/namespaces/shop/cronjobs",
}
GUARD = "validatingwebhookconfigurations/guard"


@pytest.fixture(autouse=True)
def nodes(server: Server) -> None:
    """Two workers on Docker."""
    for name in (HERE, ELSEWHERE):
        node(server, name)


def node(server: Server, name: str, **labels: str) -> None:
    body = objects.node()
    body["metadata"] |= {"name": name, "uid": name, "labels": labels}
    server.put(f"/api/v1/nodes/{name}", body)


def put(server: Server, kind: str, name: str, owner: str = "", **rest: Any) -> None:
    """`owner` is KIND/NAME; `rest` is the body beside the metadata, or goes into it."""
    meta: dict[str, Any] = {key: rest.pop(key) for key in ("labels", "annotations") if key in rest}
    if owner:
        above, _, named = owner.partition("/")
        meta["ownerReferences"] = [{"kind": above, "name": named, "controller": True}]
    body = {"kind": kind, "metadata": meta | {"name": name}, "spec": {}, **rest}
    server.put(f"{FOLDERS[kind]}/{name}", body)


def pod(server: Server, name: str, owner: str = "", where: str = HERE, **rest: Any) -> None:
    volumes = rest.pop("volumes", [])
    containers = [{"name": "c", "image": "registry.example/web:1"}]
    spec = {"nodeName": where, "containers": containers, "volumes": volumes}
    put(server, "Pod", name, owner, spec=spec, status={"phase": "Running"}, **rest)


def guard(server: Server, replicas: Iterable[str] = (HERE,)) -> None:
    """A webhook over all new pods, answered by a Deployment's pods on these nodes."""
    rule = {"apiGroups": [""], "operations": ["CREATE"], "resources": ["pods"]}
    client = {"service": {"namespace": "shop", "name": "guard"}}
    hook = {"name": "a.b.c", "rules": [rule], "failurePolicy": "Fail", "clientConfig": client}
    folder = f"/apis/admissionregistration.k8s.io/{server.admission}"
    server.put(f"{folder}/{GUARD}", {"webhooks": [hook]})
    put(server, "Service", "guard", spec={"selector": {"app": "guard"}})
    put(server, "ReplicaSet", "guard-1", "Deployment/guard")
    for count, where in enumerate(replicas):
        labels = {"app": "guard"}
        pod(server, f"guard-{count}", "ReplicaSet/guard-1", where, labels=labels)


def ran(cluster: KubernetesCluster) -> Snapshot:
    """What a real run looks at before it touches anything."""
    tools = replace(Operator(SAMPLE).tools, cluster=cluster)
    session = Session(run=RUN, options=OPTIONS, holder="me")
    view = View(run=RUN, options=OPTIONS, node=cluster.node(HERE), now=START)
    return preflight.snapshot(tools, session, view, SAMPLE)


def audited(api: Api, before: Snapshot) -> Snapshot:
    """What `unshim audit NODE` looks at: the same facts and rehearsals, and the whole cluster."""
    listed = listing.everything(api, now=START, targets=(HERE,)).snapshot
    return replace(listed, options=OPTIONS, facts={HERE: SAMPLE}, evictions=before.evictions)


def blockers(found: Iterable[Finding]) -> set[tuple[str, str, str]]:
    return {(f.rule, str(f.subject), f.message) for f in found if f.blocks}


def agreed(api: Api, cluster: KubernetesCluster) -> set[tuple[str, str]]:
    """Rule and subject of the blockers, which both must name in the same words."""
    before = ran(cluster)
    found = blockers(audit(before))
    assert found == blockers(audit(audited(api, before)))
    return {(rule, subject) for rule, subject, _ in found}


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_webhook_that_locks_itself_out(
    server: Server, api: Api, cluster: KubernetesCluster, version: str
) -> None:
    """Its one pod is on the node: whichever version the server has, nobody goes on."""
    server.admission = version
    guard(server)
    wanted = {("admission-webhook", "ValidatingWebhookConfiguration/guard")}
    assert agreed(api, cluster) == wanted


@pytest.mark.parametrize("replicas", [(HERE, ELSEWHERE), (ELSEWHERE,), (HERE, HERE), ()])
def test_a_webhook_that_is_answered_otherwise(
    server: Server, api: Api, cluster: KubernetesCluster, replicas: tuple[str, ...]
) -> None:
    """A pod on another node, or a second one, counts, and what nobody answers is no blocker."""
    guard(server, replicas)
    assert agreed(api, cluster) == set()
    said = [f.message for f in audit(ran(cluster)) if f.rule == "admission-webhook"]
    assert not any("no pod answers" in message for message in said)


@pytest.mark.parametrize("part", ["validatingwebhook", "mutatingwebhook", "/services/", "labelS"])
def test_webhooks_that_may_not_be_read(
    server: Server, cluster: KubernetesCluster, part: str
) -> None:
    """No run is refused or held up for a right that it could do without: the rule is silent."""
    guard(server)
    server.faults.append(Fault("GET", part, 403))
    assert "admission-webhook" not in {f.rule for f in audit(ran(cluster))}
    assert not server.faults


def test_only_services_behind_a_gate_are_read(server: Server, cluster: KubernetesCluster) -> None:
    """A webhook that fails open is no obstacle, and who answers it is not asked."""
    guard(server)
    path = f"/apis/admissionregistration.k8s.io/v1/{GUARD}"
    server.objects[path]["webhooks"][0]["failurePolicy"] = "Ignore"
    assert cluster.webhooks().services == ()
    assert server.count("GET", "/services/") == 0


def test_the_blocker_bears_the_name_of_the_topmost_owner(
    server: Server, api: Api, cluster: KubernetesCluster
) -> None:
    """A CronJob's pod is told of as the CronJob, of which no pod's text speaks."""
    put(server, "CronJob", "nightly")
    put(server, "Job", "nightly-1", "CronJob/nightly")
    pod(server, "nightly-1-x", "Job/nightly-1", volumes=SOCKET)
    assert agreed(api, cluster) == {("docker-socket", "CronJob/shop/nightly")}


NOTE = {"ignore.unshim.dev/docker-socket": "gone in May"}


@pytest.mark.parametrize(
    ("place", "wanted"),
    [("", True), ("Deployment", False), ("ReplicaSet", True), ("Pod", True)],
)
def test_where_an_annotation_counts(
    server: Server, api: Api, cluster: KubernetesCluster, place: str, wanted: bool
) -> None:
    """On the object that the finding names, for the audit and for the run alike."""
    for name, (kind, owner) in {
        "ci": ("Deployment", ""),
        "ci-7f": ("ReplicaSet", "Deployment/ci"),
    }.items():
        put(server, kind, name, owner, annotations=NOTE if place == kind else {})
    labels = {"pod-template-hash": "7f"}
    notes = NOTE if place == "Pod" else {}
    pod(
        server, "ci-7f-a", "ReplicaSet/ci-7f", volumes=SOCKET, labels=labels, annotations=notes
    )  # fmt: skip
    assert agreed(api, cluster) == ({("docker-socket", "Deployment/shop/ci")} if wanted else set())


def test_owners_are_read_for_blockers_only(server: Server, cluster: KubernetesCluster) -> None:
    """A node's ordinary pods cost no request each."""
    for name in ("a", "b"):
        pod(server, name, "ReplicaSet/web-1")
    ran(cluster)
    assert server.count("GET", "replicasets") == 0
    pod(server, "c", "ReplicaSet/ci-1", volumes=SOCKET)
    pod(server, "d", "ReplicaSet/ci-1", volumes=SOCKET)
    ran(cluster)
    assert server.count("GET", "replicasets") == 1


def test_an_old_pod_on_another_node_refuses_no_run_here(
    server: Server, api: Api, cluster: KubernetesCluster
) -> None:
    """In the middle of a rollout the node has the new revision: the audit of it warns."""
    put(server, "Deployment", "ci")
    for name, where, volumes in (("old", ELSEWHERE, SOCKET), ("new", HERE, [])):
        put(server, "ReplicaSet", f"ci-{name}", "Deployment/ci")
        pod(server, f"ci-{name}-x", f"ReplicaSet/ci-{name}", where, volumes=volumes)
    assert agreed(api, cluster) == set()
    found = {f.rule: f.severity.value for f in audit(audited(api, ran(cluster)))}
    assert found["docker-socket"] == "warning"


@pytest.mark.parametrize("well", ["True", "False"])
def test_a_member_of_etcd_that_is_ill(
    server: Server, api: Api, cluster: KubernetesCluster, well: str
) -> None:
    """Its node is Ready and it is not: a run must not take another member down."""
    for name in (HERE, "cp-2", "cp-3"):
        node(server, name, **MASTER)
        state = {"type": "Ready", "status": well if name == "cp-2" else "True"}
        meta = {"name": f"etcd-{name}", "labels": {"component": "etcd"}}
        meta |= {"annotations": {"kubernetes.io/config.mirror": "x"}}
        status = {"phase": "Running", "conditions": [state]}
        body = {"metadata": meta, "spec": {"nodeName": name, "containers": []}, "status": status}
        server.put(f"/api/v1/namespaces/kube-system/pods/etcd-{name}", body)
    wanted = set() if well == "True" else {("etcd-quorum", f"Node/{HERE}")}
    assert agreed(api, cluster) == wanted


def test_docker_desktop_is_known_by_its_system(
    server: Server, api: Api, cluster: KubernetesCluster
) -> None:
    """The installer that only the Node's osImage tells of refuses a run too."""
    server.objects[objects.NODE]["status"]["nodeInfo"]["osImage"] = "Docker Desktop"
    assert agreed(api, cluster) == {("unsupported-installer", f"Node/{HERE}")}
