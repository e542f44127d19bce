"""The adapter on a real Kubernetes 1.20, with no more rights than the chart gives.

Works beside other tests in the lab: everything lives in a namespace of its own, and the one node it
cordons is uncordoned within a second.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import kubernetes
import pytest
import yaml

from tests.lab import Lab
from unshim.cluster import Api, KubernetesCluster, KubernetesMigrations, connect
from unshim.core import proof
from unshim.core.objects import STAMP_ANNOTATION, Stamp
from unshim.core.options import DrainOptions
from unshim.drain import Drain
from unshim.errors import Busy, DrainRefused, Forbidden, InvalidSpec, NodeNotFound

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parent.parent.parent
SPACE = "unshim-ct"
NODE = "worker-2"
IMAGE = "registry.lab:5000/unshim/canary:1"
NEW_NETWORK = 0x40000000  # CLONE_NEWNET


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The running lab, with this thread inside its network."""
    try:
        running = Lab.attach(os.environ.get("UNSHIM_LAB", "lab"))
    except FileNotFoundError:
        pytest.skip("no lab is running: make lab-up")
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{running.netns}", os.O_RDONLY)
    assert libc.setns(there, NEW_NETWORK) == 0
    yield running
    assert libc.setns(home, NEW_NETWORK) == 0
    os.close(home)
    os.close(there)


HELM = """
import helm_python, json, sys
verb, name, chart, values = sys.argv[1:]
with helm_python.Config(namespace=name) as helm:
    if verb == "install":
        helm.install(chart, name, json.loads(values), create_namespace=True)
    else:
        helm.uninstall(name, ignore_not_found=True)
"""
# The canary image stands in for the operator's, which would need a registry with Python images.
VALUES = {
    "image": {"repository": IMAGE.rpartition(":")[0], "tag": IMAGE.rpartition(":")[2]},
    "ssh": {"keySecret": {"name": "key"}, "knownHostsConfigMap": {"name": "hosts"}},
    "networkPolicy": {"enabled": True},
}


def helm(lab: Lab, verb: str) -> None:
    """Helm itself, in a process inside the lab's network."""
    argv = (sys.executable, "-c", HELM, verb, SPACE, str(ROOT / "charts/unshim"))
    lab.run(*argv, json.dumps(VALUES), env=os.environ | {"KUBECONFIG": str(lab.kubeconfig)})


@pytest.fixture(scope="module")
def installed(lab: Lab) -> Iterator[Lab]:
    """The chart, installed by Helm into a namespace of its own, with the key it asks for."""
    pytest.importorskip("helm_python", reason="needs Helm: pip install helm-python-sdk")
    lab.kubectl("apply", "-f", str(ROOT / "crds/nodemigrations.yaml"))
    lab.kubectl("wait", "--for=condition=Established", "crd/nodemigrations.unshim.dev")
    lab.kubectl("delete", "namespace", SPACE, "--ignore-not-found")
    helm(lab, "uninstall")
    helm(lab, "install")
    lab.kubectl(
        "-n", SPACE, "create", "secret", "generic", "key", "--from-literal=ssh-privatekey=k"
    )
    lab.kubectl("-n", SPACE, "create", "configmap", "hosts", "--from-literal=known_hosts=h")
    yield lab
    helm(lab, "uninstall")
    lab.kubectl("delete", "namespace", SPACE, "--wait=false")


@pytest.fixture(scope="module")
def admin(lab: Lab) -> Api:
    return connect(str(lab.kubeconfig))


@pytest.fixture(scope="module")
def api(installed: Lab, admin: Api, tmp_path_factory: pytest.TempPathFactory) -> Api:
    """The operator's own identity: the chart's ServiceAccount."""
    token, authority = wait(lambda: _token(installed))
    file = tmp_path_factory.mktemp("sa") / "ca.crt"
    file.write_bytes(authority)
    configuration = kubernetes.client.Configuration(host=admin.configuration.host)
    configuration.ssl_ca_cert = str(file)
    configuration.api_key["authorization"] = f"Bearer {token}"
    return Api(kubernetes.client.ApiClient(configuration))


@pytest.fixture(scope="module")
def cluster(api: Api) -> KubernetesCluster:
    return KubernetesCluster(api, canary_namespace=SPACE, report_namespace=SPACE)


def _token(lab: Lab) -> tuple[str, bytes] | None:
    account = lab.get("serviceaccount", "-n", SPACE, SPACE)
    names = [secret["name"] for secret in account.get("secrets") or ()]
    if not names:
        return None
    data = lab.get("secret", "-n", SPACE, names[0])["data"]
    return base64.b64decode(data["token"]).decode(), base64.b64decode(data["ca.crt"])


def wait(condition: Callable[[], Any], seconds: float = 60) -> Any:
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "timed out"
        time.sleep(0.1)
    return found


def pod(name: str, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": SPACE, "labels": {"test": SPACE, **labels}},
        "spec": {
            "nodeName": NODE,
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": IMAGE, "imagePullPolicy": "IfNotPresent"}],
        },
    }


def running(admin: Api, name: str) -> dict[str, Any]:
    path = f"/api/v1/namespaces/{SPACE}/pods/{name}"

    def ready() -> Any:
        body = admin.get(path).body
        conditions = (body.get("status") or {}).get("conditions") or ()
        return (
            body if any(c["type"] == "Ready" and c["status"] == "True" for c in conditions) else 0
        )

    found: dict[str, Any] = wait(ready)
    return found


def create(admin: Api, body: dict[str, Any]) -> None:
    """Create, when an earlier run's object of this name has gone."""
    path = f"/api/v1/namespaces/{SPACE}/pods"
    wait(lambda: admin.post(path, body).ok)


def budget(admin: Api, name: str) -> None:
    path = f"/apis/policy/v1beta1/namespaces/{SPACE}/poddisruptionbudgets"
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "held"}}}
    admin.post(path, {"metadata": {"name": name}, "spec": spec})
    wait(lambda: (admin.get(f"{path}/{name}").body.get("status") or {}).get("currentHealthy"))


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


def test_a_node_as_it_is(cluster: KubernetesCluster) -> None:
    """A real node's view: runtime, addresses, and a heartbeat from the Lease, seconds old."""
    node = cluster.node(NODE)
    assert node.runtime.startswith(("docker://", "containerd://"))
    assert node.addresses["Hostname"] == NODE
    assert node.heartbeat is not None
    assert datetime.now(UTC) - node.heartbeat < timedelta(seconds=60)
    with pytest.raises(NodeNotFound):
        cluster.node("nope")


def test_every_node(cluster: KubernetesCluster) -> None:
    """The list that the rules about quorum need, with the operator's own rights."""
    roles = {node.name: node.control_plane for node in cluster.nodes()}
    assert roles == {"cp-1": True, "worker-1": False, "worker-2": False}


def test_a_report_goes_with_its_migration(
    cluster: KubernetesCluster, migration: str, admin: Api, installed: Lab
) -> None:
    """Written and written over with the operator's own rights; the garbage collector takes it."""
    uid = KubernetesMigrations(admin).get(migration)["metadata"]["uid"]
    for text in ("first", "second"):
        where = cluster.keep_report(migration, uid, {"report.txt": text})
    namespace, _, name = where.partition("/")
    path = f"/api/v1/namespaces/{namespace}/configmaps/{name}"
    assert admin.get(path).body["data"] == {"report.txt": "second"}
    installed.kubectl("delete", "nmig", migration)
    wait(lambda: admin.get(path).status == 404)


def test_cordon_and_back(cluster: KubernetesCluster) -> None:
    """Cordon and uncordon leave a real Node as it was, but for its resourceVersion."""
    before = cluster.node(NODE)
    assert not before.unschedulable
    stamp = Stamp(migration="run-ct", at=datetime.now(UTC).replace(microsecond=0))
    cluster.cordon(NODE, stamp)
    during = cluster.node(NODE)
    assert cluster.uncordon(NODE, "another") is False
    assert cluster.uncordon(NODE, "run-ct") is True
    after = cluster.node(NODE)
    assert (during.unschedulable, during.stamp) == (True, stamp)
    assert (after.unschedulable, after.annotations) == (False, before.annotations)
    assert STAMP_ANNOTATION not in after.annotations


def test_annotations(cluster: KubernetesCluster) -> None:
    """Set, and removed again."""
    cluster.annotate(NODE, "unshim.dev/ct", "yes")
    assert cluster.node(NODE).annotations["unshim.dev/ct"] == "yes"
    cluster.annotate(NODE, "unshim.dev/ct", None)
    assert "unshim.dev/ct" not in cluster.node(NODE).annotations


def test_leases(cluster: KubernetesCluster) -> None:
    """A real Lease keeps a second operator off, and its token goes up."""
    name = f"ct-{os.getpid()}"
    first = cluster.acquire_lease(name, "a", 30)
    assert cluster.acquire_lease(name, "a", 30) == first
    with pytest.raises(Busy, match="worked on by a"):
        cluster.acquire_lease(name, "b", 30)
    cluster.release_lease(name, "a")
    assert cluster.acquire_lease(name, "b", 30) == first + 1
    cluster.release_lease(name, "b")


def test_events(cluster: KubernetesCluster, installed: Lab) -> None:
    """`kubectl describe node` shows what we said, counted."""
    node = cluster.node(NODE)
    for _ in range(2):
        cluster.event(node, "CanarySang", f"said by {os.getpid()}", warning=False)
    assert f"said by {os.getpid()}" in installed.kubectl("describe", "node", NODE)


def test_canary(lab: Lab, cluster: KubernetesCluster) -> None:
    """A real canary shows everything within seconds; its node is the first to know its end."""
    began = time.monotonic()
    run = f"ct-{os.getpid()}"

    def leaving() -> Any:
        result = cluster.canary(NODE, run, IMAGE)
        return result if result.leaving else None

    result = wait(leaving)
    assert not proof.canary_check(result).ok
    assert "kubepods" in result.cgroup
    wait(lambda: proof.canary_check(result, own_side(lab)).ok)
    cluster.remove_canary(NODE, run)
    assert time.monotonic() - began < 15


def own_side(lab: Lab) -> dict[str, str]:
    """What node/proof.sh says on the node."""
    script = (ROOT / "operator/unshim/node/proof.sh").read_text()
    config = str(lab.directory / "ssh" / "config")
    said = lab.run("ssh", "-F", config, f"root@{NODE}", "sh", "-s", input=script, timeout=60).stdout
    return proof.parse_facts(said)


def test_drain(cluster: KubernetesCluster, admin: Api) -> None:
    """A real drain: one pod leaves, one is held by a budget and named, until the budget goes."""
    create(admin, pod("free"))
    create(admin, pod("held", app="held"))
    for name in ("free", "held"):
        running(admin, name)
    another = running(admin, "free")
    another["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    assert cluster.evict(another, grace_seconds=None, dry_run=False).verdict == "gone"
    budget(admin, "first")
    drain = Drain(cluster, DrainOptions(force=True, pod_selector=f"test={SPACE}"))

    def named() -> Any:
        state = drain.pass_once(NODE, datetime.now(UTC))
        return state if state.pending == 1 and state.blocked_by else None

    state = wait(named)
    assert state.blocked_by == (f"PodDisruptionBudget {SPACE}/first: 1 healthy, 1 required",)
    rehearsal = cluster.evict(running(admin, "held"), grace_seconds=None, dry_run=True)
    assert rehearsal.verdict == "blocked"
    budget(admin, "second")
    with pytest.raises(DrainRefused, match="more than one"):
        wait(lambda: drain.pass_once(NODE, datetime.now(UTC) + timedelta(seconds=99)).done)
    for name in ("first", "second"):
        admin.delete(f"/apis/policy/v1beta1/namespaces/{SPACE}/poddisruptionbudgets/{name}", {})
    again = Drain(cluster, DrainOptions(force=True, pod_selector=f"test={SPACE}"))
    wait(lambda: again.pass_once(NODE, datetime.now(UTC)).done)


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


@pytest.fixture
def migration(admin: Api, installed: Lab) -> Iterator[str]:
    name = f"ct-{os.getpid()}"
    spec = {"node": "no-such-node", "dryRun": True}
    KubernetesMigrations(admin).create({"metadata": {"name": name}, "spec": spec})
    yield name
    if not installed.kubectl("get", "nmig", name, "--ignore-not-found"):
        return  # the test has deleted it
    installed.kubectl("patch", "nmig", name, "--type=merge", "-p", '{"metadata":{"finalizers":[]}}')
    installed.kubectl("delete", "nmig", name, "--ignore-not-found", "--wait=false")


def test_a_status_is_kept_whole(migration: str, api: Api, installed: Lab) -> None:
    """The real API server stores every field of a full status, and prints its columns."""
    migrations = KubernetesMigrations(api)
    status = {
        "observedGeneration": 1,
        "node": "no-such-node",
        "run": "r",
        "phase": "Draining",
        "step": "drain",
        "reason": "Drain",
        "message": "1 pod has to leave",
        "runtime": "docker://20.10.24",
        "startedAt": "2026-01-01T00:00:00Z",
        "drain": {"pending": 1, "total": 2, "blockedBy": ["x"]},
        "checks": [{"name": "ready", "ok": False, "message": "no"}],
        "findings": [{"rule": "r", "severity": "info", "subject": "s", "message": "m", "fix": "f"}],
        "plan": [{"step": "s", "summary": "t", "state": "already so", "diff": "d"}],
        "conditions": [
            {
                "type": "Succeeded",
                "status": "Unknown",
                "observedGeneration": 1,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
                "reason": "Drain",
                "message": "",
            }
        ],
    }
    migrations.patch_status(migration, status)
    assert migrations.get(migration)["status"] == status
    line = installed.kubectl("get", "nmig", migration, "--no-headers").split()
    assert line[:6] == [
        migration,
        "no-such-node",
        "Draining",
        "drain",
        "Drain",
        "docker://20.10.24",
    ]


def test_defaults_and_refusals(migration: str, admin: Api, installed: Lab) -> None:
    """A real 1.20 server fills in the schema's defaults and refuses nonsense by field."""
    migrations = KubernetesMigrations(admin)
    spec = migrations.get(migration)["spec"]
    assert spec["deadManSeconds"] == 180
    assert spec["drain"]["ignoreDaemonSets"] is True
    with pytest.raises(InvalidSpec, match=r"spec\.deadManSeconds"):
        migrations.create({"metadata": {"name": "bad"}, "spec": {"node": "x", "deadManSeconds": 1}})
    for path in sorted((ROOT / "examples").glob("*.yaml")):
        installed.kubectl("apply", "--dry-run=server", "-f", str(path))
        assert yaml.safe_load(path.read_text())["kind"] == "NodeMigration"


def test_the_nodes_own_side_of_the_proof(lab: Lab, cluster: KubernetesCluster) -> None:
    """A healthy node is proven on the runtime it has, and not on the other one."""
    facts = own_side(lab)
    node = cluster.node(NODE)
    runtime = node.runtime.partition("://")[0]
    before = proof.Baseline(cgroup_driver="cgroupfs", allocatable=node.allocatable)
    reading = proof.Reading(
        node=node,
        pods=tuple(cluster.pods_on(NODE)),
        since=datetime(2026, 1, 1, tzinfo=UTC),
        runtime=runtime,
    )
    checks = (
        *proof.judge_cluster(before, reading),
        *proof.judge_node(before, reading, facts, None),
    )
    assert proof.summary(checks) == "every check holds"
    other = "docker" if runtime == "containerd" else "containerd"
    wrong = proof.Reading(node=node, pods=reading.pods, since=reading.since, runtime=other)
    assert not all(check.ok for check in proof.judge_node(before, wrong, facts, None))
