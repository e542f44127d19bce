"""The report of an audit as a ConfigMap that its NodeMigration owns: deleted with it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from unshim.cluster.api import Api, expect, segment
from unshim.core.resource import GROUP, KIND, VERSION
from unshim.errors import Refused

PREFIX = "unshim-report-"
LONGEST = 253  # characters of a name: a DNS subdomain (RFC 1123)
LABELS = {"app.kubernetes.io/managed-by": "unshim"}


def keep(api: Api, namespace: str, migration: str, uid: str, texts: Mapping[str, str]) -> str:
    """See ports.Cluster.keep_report."""
    wanted = _body(namespace, migration, uid, texts)
    folder, name = f"/api/v1/namespaces/{segment(namespace)}/configmaps", name_of(migration)
    reply = api.post(folder, wanted)
    if reply.status == 409:
        _replace(api, f"{folder}/{segment(name)}", wanted)
    else:
        expect(reply, f"write ConfigMap {namespace}/{name}")
    return f"{namespace}/{name}"


def name_of(migration: str) -> str:
    """The ConfigMap's name; a digest stands for what a long name would lose."""
    name = PREFIX + migration
    if len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(migration.encode()).hexdigest()[:16]
    return f"{name[: LONGEST - 17].rstrip('-.')}-{digest}"


def _body(namespace: str, migration: str, uid: str, texts: Mapping[str, str]) -> dict[str, Any]:
    owner = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "name": migration, "uid": uid}
    metadata = {
        "name": name_of(migration),
        "namespace": namespace,
        "labels": LABELS,
        "ownerReferences": [owner],
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(texts)}


def _replace(api: Api, path: str, wanted: Mapping[str, Any]) -> None:
    """Over an earlier report of ours; its owner may have been a migration of the same name."""
    metadata = expect(api.get(path), "read the ConfigMap of an earlier report").body["metadata"]
    labels = metadata.get("labels") or {}
    if not LABELS.items() <= labels.items():
        raise Refused(
            f"ConfigMap {metadata['namespace']}/{metadata['name']} is not of unshim's making and "
            "was left as it is. Rename it, or the NodeMigration."
        )
    expect(api.patch(path, wanted), f"write ConfigMap {metadata['name']}")
