"""The custom resource in a real API server."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import yaml

from tests.cluster.lab.objects import MARK, ROOT, wait
from tests.lab import Lab
from unshim.cluster import Api, KubernetesCluster, KubernetesMigrations
from unshim.errors import InvalidSpec

pytestmark = MARK


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


def test_a_status_is_kept_whole(migration: str, api: Api, admin: Api, installed: Lab) -> None:
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
    assert KubernetesMigrations(admin).get(migration)["status"] == status
    line = installed.kubectl("get", "nmig", migration, "--no-headers").split()
    assert line[:6] == [
        migration,
        "no-such-node",
        "Draining",
        "drain",
        "Drain",
        "docker://20.10.24",
    ]


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
