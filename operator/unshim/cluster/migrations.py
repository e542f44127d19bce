"""NodeMigration objects: read, created by the command line, their status written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from unshim.cluster.api import Api, Reply, expect, segment
from unshim.core.objects import Manifest
from unshim.core.resource import GROUP, KIND, PLURAL, VERSION
from unshim.errors import InvalidSpec, MigrationNotFound, Refused

FOLDER = f"/apis/{GROUP}/{VERSION}/{PLURAL}"


class KubernetesMigrations:
    """See ports.Migrations."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def get(self, name: str) -> Manifest:
        """Raises MigrationNotFound, ClusterUnavailable."""
        reply = self._api.get(f"{FOLDER}/{segment(name)}")
        _found(reply, name)
        return expect(reply, f"read {KIND} {name}").body

    def list(self) -> Sequence[Manifest]:
        """Raises MigrationNotFound when the CRD is not installed."""
        first = self._api.get(FOLDER, limit=1)
        _found(first, "")
        return tuple(self._api.items(FOLDER))

    def create(self, body: Mapping[str, object]) -> Manifest:
        """Raises InvalidSpec with the server's words, Refused when the name is taken."""
        reply = self._api.post(FOLDER, {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, **body})
        name = str((body.get("metadata") or {}).get("name"))  # type: ignore[attr-defined]
        if reply.status == 409:
            raise Refused(f"a {KIND} named {name} exists already; it was left as it is")
        if reply.status in (400, 422):
            raise InvalidSpec(f"the API server refuses {KIND} {name}: {reply.message}")
        _found(reply, "")
        return expect(reply, f"create {KIND} {name}").body

    def patch_status(self, name: str, status: Mapping[str, object]) -> None:
        """A merge patch of the status subresource. Raises MigrationNotFound, ClusterUnavailable."""
        reply = self._api.patch(f"{FOLDER}/{segment(name)}/status", {"status": status})
        _found(reply, name)
        expect(reply, f"write the status of {KIND} {name}")


def _found(reply: Reply, name: str) -> None:
    if reply.status != 404:
        return
    if name:
        raise MigrationNotFound(f"no {KIND} named {name} exists. Nothing was changed.")
    raise MigrationNotFound(
        f"this cluster does not know {PLURAL}.{GROUP}. Install the CRD first: "
        "kubectl apply -f crds/nodemigrations.yaml"
    )
