"""One Lease per node, so that one operator works on it; its transitions are the fencing token.

Only the API server's clock is read (the Date of its answers), so operators whose clocks differ
agree on when a Lease has expired.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from unshim.cluster.api import Api, Reply, expect, segment
from unshim.cluster.nodes import parse_time
from unshim.errors import Busy, ClusterUnavailable

CONFLICTS = 4


def acquire(api: Api, namespace: str, node: str, holder: str, seconds: int) -> int:
    """Take, renew or take over the expired Lease; return its fencing token. Raises Busy."""
    for _ in range(CONFLICTS):
        seen = api.get(_path(namespace, node))
        written = _write(api, namespace, node, seen, holder, seconds)
        if written.status != 409:
            reply = expect(written, f"hold the Lease of node {node}")
            return int(reply.body["spec"]["leaseTransitions"])
    raise ClusterUnavailable(f"the Lease of node {node} changed under each of {CONFLICTS} tries")


def release(api: Api, namespace: str, node: str, holder: str) -> None:
    """Give the Lease up, if it is ours. The object stays: its token must never go down."""
    seen = api.get(_path(namespace, node))
    if not seen.ok or seen.body["spec"].get("holderIdentity") != holder:
        return
    spec = {**seen.body["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
    reply = api.put(_path(namespace, node), {**seen.body, "spec": spec})
    if reply.status not in (404, 409):
        expect(reply, f"release the Lease of node {node}")


def _write(api: Api, namespace: str, node: str, seen: Reply, holder: str, seconds: int) -> Reply:
    now = seen.date or datetime.now(UTC)
    if seen.status == 404:
        fresh = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": f"unshim-{node}",
                "labels": {"app.kubernetes.io/managed-by": "unshim"},
            },
            "spec": claim({}, holder, seconds, now),
        }
        return api.post(_folder(namespace), fresh)
    body = dict(expect(seen, f"read the Lease of node {node}").body)
    _check_free(body, node, holder, now)
    spec = claim(body.get("spec") or {}, holder, seconds, now)
    return api.put(_path(namespace, node), {**body, "spec": spec})


def claim(spec: Mapping[str, Any], holder: str, seconds: int, now: datetime) -> dict[str, Any]:
    """The Lease's spec with us as its holder. A change of holder makes a higher token.

    A token is at least the minutes since 1970: a Lease that somebody deleted comes back with a
    token higher than any the node has seen.
    """
    stamp = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    mine = spec.get("holderIdentity") == holder
    token = int(spec.get("leaseTransitions") or 0)
    return {
        "holderIdentity": holder,
        "leaseDurationSeconds": seconds,
        "acquireTime": spec.get("acquireTime") or stamp if mine else stamp,
        "renewTime": stamp,
        "leaseTransitions": token if mine else max(token + 1, int(now.timestamp()) // 60),
    }


def _check_free(body: Mapping[str, Any], node: str, holder: str, now: datetime) -> None:
    spec = body.get("spec") or {}
    other = spec.get("holderIdentity") or holder
    renewed = parse_time(spec.get("renewTime"))
    if other == holder or renewed is None:
        return
    until = renewed + timedelta(seconds=int(spec.get("leaseDurationSeconds") or 0))
    if now < until:
        raise Busy(
            f"node {node} is being worked on by {other}, which holds Lease "
            f"{body['metadata'].get('namespace')}/{body['metadata']['name']} until "
            f"{until:%H:%M:%S} UTC. Nothing was done; it is tried again."
        )


def _folder(namespace: str) -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{segment(namespace)}/leases"


def _path(namespace: str, node: str) -> str:
    return f"{_folder(namespace)}/{segment('unshim-' + node)}"
