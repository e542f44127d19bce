"""Events people see in `kubectl describe node`. Best effort: an Event never holds up a run."""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from typing import Any

from unshim.cluster.api import Api
from unshim.core.objects import Node
from unshim.errors import ClusterUnavailable

log = logging.getLogger(__name__)

NAMESPACE = "default"  # where Kubernetes itself keeps the events of cluster-scoped objects
LONGEST = 1000  # characters; the API server refuses messages over 1024


def post(api: Api, node: Node, reason: str, message: str, *, warning: bool) -> None:
    """Tell the same thing once: a repeated event counts up instead."""
    body = event(node, reason, message, datetime.now(UTC), warning=warning)
    path = f"/api/v1/namespaces/{NAMESPACE}/events"
    try:
        if api.post(path, body).status == 409:
            _again(api, f"{path}/{body['metadata']['name']}", body)
    except ClusterUnavailable as exc:
        log.info("event %s of node %s was not written: %s", reason, node.name, exc)


def _again(api: Api, path: str, body: dict[str, Any]) -> None:
    count = int(api.get(path).body.get("count") or 1)
    api.patch(path, {"count": count + 1, "lastTimestamp": body["lastTimestamp"]})


def event(node: Node, reason: str, message: str, now: datetime, *, warning: bool) -> dict[str, Any]:
    """A core/v1 Event. Its name follows from what it says, so that telling twice is a conflict."""
    digest = hashlib.sha256(f"{node.uid}/{reason}/{message}".encode()).hexdigest()[:16]
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{node.name}.unshim.{digest}", "namespace": NAMESPACE},
        # The kubelet puts the name into uid, and that is what `kubectl describe node` looks for.
        "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": node.name, "uid": node.name},
        "reason": reason,
        "message": message[:LONGEST],
        "type": "Warning" if warning else "Normal",
        "source": {"component": "unshim"},
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
