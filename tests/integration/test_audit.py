"""`unshim audit` on a real cluster: it reads only, it is a kubectl plugin, its report is kept."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import operator_process as unshim
from tests.integration import audited, observing
from tests.integration.observing import MARKS
from tests.lab import Lab, builds
from unshim.report import RENDERERS

pytestmark = MARKS

NODES = ("cp-1", "worker-1", "worker-2")
CHOICES = ("--delete-emptydir-data",)


def test_an_audit_in_depth_only_reads(lab: Lab) -> None:
    """By the API server's own log, and by every file, image, unit and rule of the nodes.

    The log holds no bodies: that the evictions are dry runs is seen by the pods, all still there.
    """
    pods = {n: {p["metadata"]["uid"] for p in observing.pods_on(lab, n)} for n in NODES}
    before = {name: audited.disk(lab, name) for name in NODES}
    seen = len(lab.audit_log())
    for extra in ((), NODES):  # the whole cluster, and by name
        done = unshim.cli(lab, "audit", *extra, *CHOICES)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "would run" in done.stdout
    requests = audited.asked(lab, seen)
    assert len(requests) > 20
    written = audited.writes(requests)
    assert written, "the evictions were rehearsed"
    assert [w for w in written if not w.endswith("/eviction") or not w.startswith("create ")] == []
    for name in NODES:
        assert audited.disk(lab, name).splitlines() == before[name].splitlines()
        assert {p["metadata"]["uid"] for p in observing.pods_on(lab, name)} == pods[name]
        assert "unshim.dev/cordoned" not in lab.node_object(name)["metadata"]["annotations"]


def test_one_connection_for_each_node(lab: Lab) -> None:
    """sshd of the node counts: facts and plan come over the same connection."""
    count = "journalctl -u ssh --no-pager | grep -c 'Accepted publickey'"
    before = int(lab.node("worker-1").exec(count, check=False).stdout)
    done = unshim.cli(lab, "audit", "worker-1", *CHOICES)
    assert "A migration of worker-1 would run" in done.stdout
    assert int(lab.node("worker-1").exec(count).stdout) == before + 1


@pytest.mark.parametrize("output", sorted(RENDERERS))
def test_every_output_holds_the_plan(lab: Lab, output: str) -> None:
    """Steps, states, diffs and images, whatever the reader."""
    text = unshim.cli(lab, "audit", "worker-1", "-o", output, *CHOICES).stdout
    for said in ("kubelet-flags", "would apply", "already so", "k8s.gcr.io/pause:3.2"):
        assert said in text
    assert "+KUBELET_KUBEADM_ARGS=" in text


def test_a_dry_run_prints_the_same_plan(lab: Lab) -> None:
    """From the first line about the migration to the last image, to the letter."""
    looked = unshim.cli(lab, "audit", "worker-1", *CHOICES).stdout
    ran = unshim.cli(lab, "migrate", "worker-1", "--dry-run", *CHOICES).stdout
    start = "A migration of worker-1 would run"
    plan = start + looked.partition(start)[2]
    assert plan.count("\n") > 60
    assert plan in ran


def test_it_is_a_plugin_of_kubectl(lab: Lab) -> None:
    """`kubectl unshim audit` finds kubectl-unshim on PATH and says what `unshim audit` says."""
    scripts = Path(sys.executable).parent
    assert os.access(scripts / "kubectl-unshim", os.X_OK)
    env = {**unshim.environment(lab), "PATH": f"{scripts}:{os.environ['PATH']}"}
    env.pop("PYTHONPATH")  # what is installed has to do
    kubectl = str(builds.kubernetes() / "kubectl")
    listed = lab.run(kubectl, "plugin", "list", env=env, check=False).stdout
    assert str(scripts / "kubectl-unshim") in listed
    wanted = ("audit", "worker-1", "-o", "json", *CHOICES)
    done = lab.run(kubectl, "unshim", *wanted, env=env, timeout=120)
    assert _timeless(done.stdout) == _timeless(unshim.cli(lab, *wanted).stdout)


def _timeless(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    assert found["plans"]["worker-1"]["steps"]
    return found | {"at": ""}


@pytest.mark.usefixtures("operator")
def test_the_whole_report_is_beside_the_migration_and_goes_with_it(lab: Lab) -> None:
    """The status has a summary and names the ConfigMap; deleting the one deletes the other."""
    unshim.apply(lab, unshim.migration("reports", "worker-2", dryRun=True))
    ended = unshim.finished(lab, "reports")
    assert ended["report"] == "unshim-system/unshim-report-reports", ended
    where = ("configmap", "-n", "unshim-system", "unshim-report-reports")
    data = lab.get(*where)["data"]
    told = json.loads(data["report.json"])
    assert told["counts"] == ended["findingCounts"]
    steps = told["plans"]["worker-2"]["steps"]
    assert [(s["step"], s["state"]) for s in steps] == [
        (p["step"], p["state"]) for p in ended["plan"]
    ]
    assert "A migration of worker-2 would run" in data["report.txt"]
    lab.kubectl("delete", "nodemigration", "reports")
    lab.wait(lambda: not lab.kubectl("get", *where, "--ignore-not-found"), 60, "the report to go")
