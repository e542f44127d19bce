"""The README's way with Helm, word for word: the operator is a pod, on a node of its own."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import documents, helm
from tests import operator_process as unshim
from tests.integration import observing
from tests.integration.observing import MARKS, Seen
from tests.lab import Lab, builds, operator_image

pytestmark = [*MARKS, pytest.mark.slow]

NODE, HOME = "worker-1", "worker-2"  # what is migrated, and where the operator runs
SPACE, RELEASE = "unshim-system", "unshim"
ACCOUNT = f"system:serviceaccount:{SPACE}:{RELEASE}"
REGISTRY = "registry.lab:5000/unshim"
EXAMPLE = "kubectl apply -f examples/nodemigration.yaml"
ON_HOME = {"nodeSelector": {"kubernetes.io/hostname": HOME}}

# namespace ("*": all of the cluster), group/resource, verb
Right = tuple[str, str, str]
#: Rights that no log of this lab can show: it leaves out Leases, and only newer API servers ask for
#: `create` of whoever execs over a WebSocket.
UNSEEN: set[Right] = {
    ("kube-node-lease", "coordination.k8s.io/leases", "get"),
    *(("kube-system", "coordination.k8s.io/leases", verb) for verb in ("create", "get", "update")),
    (SPACE, "/pods/exec", "create"),
}
#: Rights for what this worker's run does not meet: its pods have neither claims nor RuntimeClasses,
#: none of them stands in its way, no webhook fails closed, it is no control plane, and no report is
#: written twice. tests/cluster and test_agreement do.
UNMET: set[Right] = {
    ("*", "/nodes", "list"),
    ("*", "/persistentvolumeclaims", "get"),
    ("*", "/persistentvolumes", "get"),
    ("*", "node.k8s.io/runtimeclasses", "get"),
    *(("*", f"apps/{plural}", "get") for plural in ("deployments", "replicasets", "statefulsets")),
    *(("*", f"batch/{plural}", "get") for plural in ("jobs", "cronjobs")),
    ("*", "/replicationcontrollers", "get"),
    ("*", "/services", "get"),
    *((SPACE, "/configmaps", verb) for verb in ("get", "patch")),
}


@pytest.fixture
def desk(lab: Lab, tmp_path: Path) -> Iterator[Path]:
    """A person's folder: our files, the key, the known hosts. The cluster has nothing of ours."""
    pytest.importorskip("helm_python", reason="needs Helm: pip install helm-python-sdk")
    lab.kubectl("delete", "namespace", SPACE, "--ignore-not-found")
    lab.kubectl("delete", "crd", "nodemigrations.unshim.dev", "--ignore-not-found")
    for name in ("charts", "examples"):
        (tmp_path / name).symlink_to(documents.ROOT / name)
    shutil.copy(lab.ssh_key, tmp_path / "key")
    shutil.copy(lab.known_hosts, tmp_path / "known_hosts")
    yield tmp_path
    _show_the_operators_log(lab)
    helm.uninstall(lab, RELEASE, SPACE)
    unshim.install(lab)


def _show_the_operators_log(lab: Lab) -> None:
    try:
        print(lab.kubectl("logs", "-n", SPACE, f"deployment/{RELEASE}", "--tail=60"))
        print(lab.kubectl("describe", "pods", "-n", SPACE))
    except RuntimeError:
        print("the operator's pod has gone")


def test_the_readmes_way_with_helm(lab: Lab, desk: Path) -> None:
    """Install, audit, migrate, refuse the operator's own node, take back, uninstall."""
    _move_db_home(lab)
    before = {name: observing.see(lab, name) for name in (NODE, HOME)}
    logged = len(lab.audit_log())
    commands = documents.readme("docker build")
    release = _install(lab, desk, commands[: commands.index(EXAMPLE)])
    _notes_lead_to_an_audit(lab, desk, release["notes"])
    _migrates(lab, desk, commands[commands.index(EXAMPLE) :])
    _refuses_its_own_node(lab, before[HOME])
    _takes_back(lab, desk, before[NODE])
    granted = _granted(lab)
    _uninstall(lab, before)
    _needed_what_it_was_granted(lab.audit_log()[logged:], granted)


def _move_db_home(lab: Lab) -> None:
    """The example does not say that emptyDir data may go, and the lab's database has some."""
    lab.kubectl("cordon", NODE)
    lab.kubectl("delete", "pod", "-n", "apps", "-l", "app=db")
    lab.wait_ready()
    lab.kubectl("uncordon", NODE)


def _shell(lab: Lab, desk: Path, script: str) -> str:
    """A person's shell at a desk inside the lab."""
    path = f"{builds.kubernetes()}:{os.environ['PATH']}"
    env = os.environ | {"KUBECONFIG": str(lab.kubeconfig), "PATH": path}
    return lab.run("sh", "-euc", script, cwd=desk, env=env, timeout=900).stdout


def _install(lab: Lab, desk: Path, commands: list[str]) -> dict[str, Any]:
    """The README's commands up to the Deployment; returns Helm's release."""
    release: dict[str, Any] = {}
    for command in commands:
        words = shlex.split(command.replace("REGISTRY", REGISTRY))
        if words[0] == "docker":
            operator_image.push(lab.node(HOME), words[words.index("-t") + 1])
        elif words[0] == "helm":
            release = _helm_install(lab, words)
        else:
            _shell(lab, desk, command)
    lab.kubectl("rollout", "status", "-n", SPACE, f"deployment/{RELEASE}", "--timeout=120s")
    (pod,) = _pods(lab)
    assert pod["spec"]["nodeName"] == HOME
    return release


def _helm_install(lab: Lab, words: list[str]) -> dict[str, Any]:
    import helm_python

    assert words[:6] == ["helm", "install", RELEASE, "charts/unshim", "-n", SPACE]
    assert words[6::2] == ["--set"] * len(words[7::2])
    values: dict[str, Any] = helm_python.parse_set_string(",".join(words[7::2]))
    return helm.install(lab, RELEASE, SPACE, values | ON_HOME)


def _pods(lab: Lab) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = lab.get("pods", "-n", SPACE)["items"]
    return found


def _notes_lead_to_an_audit(lab: Lab, desk: Path, notes: str) -> None:
    """What Helm says next, typed as it stands, shows a node's findings and plan."""
    _shell(lab, desk, documents.indented(notes).replace("NODE", NODE))
    status = unshim.status(lab, f"audit-{NODE}")
    assert status["phase"] == "Audited", status["message"]
    assert status["plan"]


def _migrates(lab: Lab, desk: Path, commands: list[str]) -> None:
    """The example as it is shipped: worker-1 serves on containerd."""
    for command in commands:
        _shell(lab, desk, command)
    assert unshim.status(lab, NODE)["phase"] == "Succeeded"
    observing.wait_serves(lab, NODE, "containerd://")
    assert observing.schedulable(lab, NODE)
    assert lab.node(NODE).docker_k8s_containers() == []
    assert len(lab.node(NODE).cri_containers()) > 0


def _refuses_its_own_node(lab: Lab, before: Seen) -> None:
    """Blocked by name before anything is touched."""
    unshim.apply(lab, unshim.migration("own", HOME))
    ended = unshim.finished(lab, "own")
    assert (ended["phase"], ended["reason"]) == ("Refused", "Blocked"), ended["message"]
    assert f"operator-node Node/{HOME}" in ended["message"]
    assert "1 blocker" in ended["message"]
    observing.assert_same(before, observing.see(lab, HOME))
    assert observing.journal(lab, HOME, observing.uid(lab, "own")) == []


def _takes_back(lab: Lab, desk: Path, before: Seen) -> None:
    """The example that asks for it; the operator's pod dies meanwhile. The node is as it was."""
    _shell(lab, desk, "kubectl apply -f examples/rollback.yaml")
    lab.wait(lambda: unshim.status(lab, NODE)["phase"] != "Succeeded", 60, "the way back to begin")
    (pod,) = _pods(lab)
    name = pod["metadata"]["name"]
    lab.kubectl("delete", "pod", "-n", SPACE, name, "--force", "--grace-period=0")
    assert unshim.status(lab, NODE)["phase"] != "RolledBack", "it dies in the middle"
    lab.wait(lambda: unshim.status(lab, NODE)["phase"] == "RolledBack", 300, "the way back")
    observing.assert_same(before, observing.see(lab, NODE))
    observing.wait_serves(lab, NODE, "docker://")
    assert lab.node(NODE).cri_containers() == []


def _uninstall(lab: Lab, before: dict[str, Seen]) -> None:
    """Objects and nodes stay as they are, nobody holds anything, and nothing hangs."""
    (pod,) = _pods(lab)
    assert [status["restartCount"] for status in pod["status"]["containerStatuses"]] == [0]
    lab.wait(lambda: not _finalizers(lab), 30, "finished objects to need no operator to go")
    kept = {item["metadata"]["name"]: item["status"] for item in _migrations(lab)}
    helm.uninstall(lab, RELEASE, SPACE)
    lab.wait(lambda: _pods(lab) == [], 60, "the operator and its canaries to go")
    assert _granted(lab) == set()
    assert {item["metadata"]["name"]: item["status"] for item in _migrations(lab)} == kept
    assert set(kept) == {NODE, "own", f"audit-{NODE}"}
    for name, seen in before.items():
        observing.assert_same(seen, observing.see(lab, name))
        observing.wait_serves(lab, name, "docker://")
    lease = lab.get("lease", "-n", "kube-system", f"unshim-{NODE}")
    assert not lease["spec"].get("holderIdentity")
    lab.kubectl("delete", "nodemigrations", "--all", "--timeout=20s")
    assert _migrations(lab) == []


def _needed_what_it_was_granted(entries: list[dict[str, Any]], granted: set[Right]) -> None:
    """The API server never turned the operator away, and it has used every right of the chart.

    Looked at when the operator has gone: a watch is logged when it ends.
    """
    ours = [entry for entry in entries if entry["user"]["username"] == ACCOUNT]
    refused = [entry for entry in ours if entry.get("responseStatus", {}).get("code") == 403]
    assert [f"{entry['verb']} {entry['requestURI']}" for entry in refused] == []
    used = {right for entry in ours if "objectRef" in entry for right in _used(entry)}
    assert granted - used == UNSEEN | UNMET


def _used(entry: dict[str, Any]) -> Iterator[Right]:
    """A request in a namespace makes use of a right there, or of one for the whole cluster."""
    wanted = entry["objectRef"]
    parts = (wanted.get("apiGroup", ""), wanted.get("resource", ""), wanted.get("subresource", ""))
    for place in (wanted.get("namespace", "*"), "*"):
        yield place, "/".join(parts).rstrip("/"), entry["verb"]


def _granted(lab: Lab) -> set[Right]:
    ours = ("-A", "-l", f"app.kubernetes.io/instance={RELEASE}")
    roles = lab.get("clusterroles,roles", *ours)["items"]
    return {
        (role["metadata"].get("namespace", "*"), f"{group}/{resource}", verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def _migrations(lab: Lab) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = lab.get("nodemigrations")["items"]
    return found


def _finalizers(lab: Lab) -> list[str]:
    return [name for item in _migrations(lab) for name in item["metadata"].get("finalizers", ())]
