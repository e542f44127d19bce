"""Nodes: reading them with their heartbeat, and our stamped cordon.

Every write carries the resourceVersion it was decided on, so a cordon or uncordon by somebody else
between our look and our write is seen, never overwritten.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from unshim.cluster.api import Api, Reply, expect, segment
from unshim.core.objects import STAMP_ANNOTATION, Node, Stamp
from unshim.errors import ClusterUnavailable, Forbidden, NodeNotFound

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
CONFLICTS = 6  # heartbeats rewrite a Node every few seconds; more conflicts than this are a fault


def read(api: Api, name: str) -> Node:
    """The Node with the kubelet's Lease. Raises NodeNotFound, ClusterUnavailable."""
    body = _get(api, name)
    return view(body, _lease(api, name))


def read_all(api: Api) -> tuple[Node, ...]:
    """Every Node. Their Leases are not read: who lists asks whether they are Ready."""
    return tuple(view(body, {}) for body in api.items("/api/v1/nodes"))


def view(body: Mapping[str, Any], lease: Mapping[str, Any]) -> Node:
    """What the engine needs of a Node object and its Lease ({} when there is none)."""
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    info, ready = status.get("nodeInfo") or {}, _ready(status)
    annotations = metadata.get("annotations") or {}
    return Node(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        unschedulable=bool(spec.get("unschedulable")),
        ready=ready.get("status") == "True",
        runtime=info.get("containerRuntimeVersion", ""),
        kubelet_version=info.get("kubeletVersion", ""),
        heartbeat=_newest(
            ready.get("lastHeartbeatTime"), (lease.get("spec") or {}).get("renewTime")
        ),
        stamp=parse_stamp(annotations.get(STAMP_ANNOTATION, "")),
        annotations=annotations,
        labels=metadata.get("labels") or {},
        addresses=_addresses(status),
        allocatable=status.get("allocatable") or {},
        taints=tuple(sorted(_taint(taint) for taint in spec.get("taints") or ())),
        provider_id=str(spec.get("providerID") or ""),
        os_image=str(info.get("osImage") or ""),
        not_ready_reason="" if ready.get("status") == "True" else str(ready.get("message", "")),
    )


def cordon(api: Api, name: str, stamp: Stamp) -> None:
    """Cordon and stamp in one patch; a cordon that somebody else made first is left as found."""
    text = render_stamp(stamp)
    for _ in range(CONFLICTS):
        body = _get(api, name)
        if (body.get("spec") or {}).get("unschedulable"):
            return
        change = {
            "metadata": {"annotations": {STAMP_ANNOTATION: text}},
            "spec": {"unschedulable": True},
        }
        if _written(_patch(api, body, change), name) and _stands(api, name, text):
            return
    raise _contended(name, "cordon")


def uncordon(api: Api, name: str, migration: str) -> bool:
    """Undo `cordon` if the stamp is `migration`'s; False: it is not, and nothing was changed."""
    for _ in range(CONFLICTS):
        body = _get(api, name)
        stamp = parse_stamp((body["metadata"].get("annotations") or {}).get(STAMP_ANNOTATION, ""))
        if stamp is None or stamp.migration != migration:
            return False
        change = {
            "metadata": {"annotations": {STAMP_ANNOTATION: None}},
            "spec": {"unschedulable": None},
        }
        if _written(_patch(api, body, change), name):
            return True
    raise _contended(name, "uncordon")


def annotate(api: Api, name: str, key: str, value: str | None) -> None:
    """Set one annotation, or remove it."""
    reply = api.patch(_path(name), {"metadata": {"annotations": {key: value}}})
    _found(reply, name)
    expect(reply, f"annotate node {name}")


def render_stamp(stamp: Stamp) -> str:
    at = stamp.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return json.dumps({"migration": stamp.migration, "at": at}, separators=(",", ":"))


def parse_stamp(text: str) -> Stamp | None:
    """None when there is no stamp, or none that can be read: then the cordon is not ours."""
    try:
        raw = json.loads(text)
        at = parse_time(raw["at"])
        return Stamp(migration=str(raw["migration"]), at=at) if at else None
    except (ValueError, KeyError, TypeError):
        return None


def parse_time(text: object) -> datetime | None:
    """metav1.Time or MicroTime, or None."""
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).astimezone(UTC)
    except ValueError:
        return None


def _get(api: Api, name: str) -> Mapping[str, Any]:
    reply = api.get(_path(name))
    _found(reply, name)
    return expect(reply, f"read node {name}").body


def _lease(api: Api, name: str) -> Mapping[str, Any]:
    """{} when there is none, or when we may not read it: Ready's own heartbeat then has to do."""
    try:
        reply = api.get(f"{LEASES}/{segment(name)}")
    except Forbidden:
        return {}
    return reply.body if reply.ok else {}


def _patch(api: Api, seen: Mapping[str, Any], change: dict[str, Any]) -> Reply:
    version = seen["metadata"].get("resourceVersion")
    metadata = {**change["metadata"], "resourceVersion": version}
    return api.patch(_path(seen["metadata"]["name"]), {**change, "metadata": metadata})


def _written(reply: Reply, name: str) -> bool:
    """False on a conflict: look again."""
    if reply.status == 409:
        return False
    _found(reply, name)
    expect(reply, f"change node {name}")
    return True


def _stands(api: Api, name: str, text: str) -> bool:
    """Cordons that were answered with success and did not stick have been seen in the field."""
    body = _get(api, name)
    annotations = body["metadata"].get("annotations") or {}
    return bool((body.get("spec") or {}).get("unschedulable")) and (
        annotations.get(STAMP_ANNOTATION) == text
    )


def _found(reply: Reply, name: str) -> None:
    if reply.status == 404:
        raise NodeNotFound(
            f"no node named {name} exists in this cluster. Nothing was changed; "
            "`kubectl get nodes` lists the names."
        )


def _contended(name: str, what: str) -> ClusterUnavailable:
    return ClusterUnavailable(
        f"node {name}: could not {what}, because the object changed at each of {CONFLICTS} tries. "
        "It is tried again on the next tick."
    )


def _ready(status: Mapping[str, Any]) -> Mapping[str, Any]:
    conditions = status.get("conditions") or ()
    return next((c for c in conditions if c.get("type") == "Ready"), {})


def _newest(*texts: object) -> datetime | None:
    return max((t for t in (parse_time(text) for text in texts if text) if t), default=None)


def _addresses(status: Mapping[str, Any]) -> dict[str, str]:
    """The first address of each type: that is the one the node prefers."""
    found: dict[str, str] = {}
    for address in status.get("addresses") or ():
        found.setdefault(address.get("type", ""), address.get("address", ""))
    return found


def _taint(taint: Mapping[str, Any]) -> str:
    return f"{taint.get('key', '')}={taint.get('value') or ''}:{taint.get('effect', '')}"


def _path(name: str) -> str:
    return f"/api/v1/nodes/{segment(name)}"
