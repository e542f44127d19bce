"""NodeMigration objects."""

from __future__ import annotations

import pytest

from tests.cluster.api import Fault, Server, failure
from tests.cluster.objects import MIGRATION
from unshim.cluster import Api, KubernetesMigrations
from unshim.errors import InvalidSpec, MigrationNotFound, Refused

BODY = {"metadata": {"name": "worker-1"}, "spec": {"node": "worker-1"}}


@pytest.fixture
def migrations(api: Api) -> KubernetesMigrations:
    return KubernetesMigrations(api)


def test_create_get_list(migrations: KubernetesMigrations) -> None:
    """What was created is found, with its kind."""
    migrations.create(BODY)
    assert migrations.get("worker-1")["kind"] == "NodeMigration"
    assert [m["metadata"]["name"] for m in migrations.list()] == ["worker-1"]
    with pytest.raises(Refused, match="exists already"):
        migrations.create(BODY)


def test_status_is_merged_and_none_removes(
    server: Server, migrations: KubernetesMigrations
) -> None:
    """A status patch touches the status subresource only, and None takes a field away."""
    migrations.create(BODY)
    migrations.patch_status("worker-1", {"phase": "Draining", "drain": {"pending": 1}})
    migrations.patch_status("worker-1", {"phase": "Switching", "drain": None})
    assert server.objects[MIGRATION]["status"] == {"phase": "Switching"}
    assert server.objects[MIGRATION]["spec"] == {"node": "worker-1"}


def test_words_for_people(server: Server, migrations: KubernetesMigrations) -> None:
    """Not there, not installed, not valid: each is told apart."""
    with pytest.raises(MigrationNotFound, match="no NodeMigration named nope"):
        migrations.patch_status("nope", {})
    server.faults.append(Fault("POST", "nodemigrations", 422, failure(422, "spec.node: required")))
    with pytest.raises(InvalidSpec, match=r"spec\.node: required"):
        migrations.create(BODY)
    server.faults.append(Fault("POST", "nodemigrations", 404))
    with pytest.raises(MigrationNotFound, match="kubectl apply -f crds"):
        migrations.create(BODY)
