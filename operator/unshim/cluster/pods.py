"""Pods of a node, and their eviction by whichever version of the API the server has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unshim.cluster.api import Api, Reply, expect, segment
from unshim.core.objects import CANARY_LABEL, Eviction, Manifest
from unshim.errors import ClusterUnavailable, Refused

EVICT_SECONDS = 10.0  # one slow admission webhook must not hold up a drain


class Evictions:
    """The eviction API of one server; its version is asked for once."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._version = ""

    def evict(self, pod: Manifest, *, grace_seconds: int | None, dry_run: bool) -> Eviction:
        """Ask once; never waits for the pod to go."""
        metadata = pod["metadata"]
        body = _body(self.version(), metadata, grace_seconds, dry_run=dry_run)
        path = f"{_path(metadata)}/eviction"
        try:
            return verdict(self._api.post(path, body, read_seconds=EVICT_SECONDS), metadata)
        except ClusterUnavailable as exc:
            return Eviction(verdict="blocked", message=str(exc))

    def version(self) -> str:
        """`policy/v1`, or `policy/v1beta1` before Kubernetes 1.22, as kubectl finds it."""
        if not self._version:
            reply = expect(self._api.get("/api/v1"), "discover the eviction API")
            found = [
                r for r in reply.body.get("resources") or () if r.get("name") == "pods/eviction"
            ]
            if not found:
                raise Refused("the API server offers no eviction of pods; nothing was evicted")
            group, version = found[0].get("group"), found[0].get("version")
            self._version = f"{group}/{version}" if group and version else "policy/v1beta1"
        return self._version


def _body(
    version: str, metadata: Mapping[str, Any], grace: int | None, *, dry_run: bool
) -> dict[str, Any]:
    """The UID is a precondition: a pod of the same name that came after is left alone."""
    options: dict[str, Any] = {"preconditions": {"uid": metadata["uid"]}}
    if grace is not None and grace >= 0:
        options["gracePeriodSeconds"] = grace
    if dry_run:
        options["dryRun"] = ["All"]
    return {
        "apiVersion": version,
        "kind": "Eviction",
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
        "deleteOptions": options,
    }


def verdict(reply: Reply, metadata: Mapping[str, Any]) -> Eviction:
    """What an answer means; domain knowledge in docs (429, 500 as a Status, 403 with a cause)."""
    if reply.ok and reply.body.get("status") != "Failure":
        return Eviction(verdict="evicted")
    status = int(reply.body.get("code") or reply.status)
    if status == 404:
        return Eviction(verdict="gone")
    if status == 409 and "uid" in reply.message.lower():  # the precondition: another pod by now
        return Eviction(verdict="gone")
    if status in (401, 409, 429) or (status >= 500 and not _two_budgets(reply)):
        return Eviction(verdict="blocked", message=reply.message, retry_after=reply.retry_after)
    if status == 403 and _namespace_terminating(reply):
        return Eviction(verdict="blocked", message=f"namespace {metadata['namespace']} is ending")
    return Eviction(verdict="refused", message=reply.message)


def _two_budgets(reply: Reply) -> bool:
    """Two PodDisruptionBudgets match the pod; no server can evict it, and it says so with a 500."""
    said = reply.message.lower()
    return "more than one" in said and "poddisruptionbudget" in said.replace(" ", "")


def _namespace_terminating(reply: Reply) -> bool:
    causes = (reply.body.get("details") or {}).get("causes") or ()
    return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)


def on_node(api: Api, node: str, *, cached: bool = False) -> Sequence[Manifest]:
    """Every pod bound to the node, terminal ones too. `resourceVersion=0` is the server's cache."""
    query = {"fieldSelector": f"spec.nodeName={node}"} | (
        {"resourceVersion": "0"} if cached else {}
    )
    return tuple(api.items("/api/v1/pods", **query))


def labelled(api: Api, namespace: str, labels: Mapping[str, str]) -> Sequence[Manifest]:
    """The pods of a namespace that carry all of these labels."""
    selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    path = f"/api/v1/namespaces/{segment(namespace)}/pods"
    return tuple(api.items(path, labelSelector=selector))


def daemonset_exists(api: Api, namespace: str, name: str) -> bool:
    path = f"/apis/apps/v1/namespaces/{segment(namespace)}/daemonsets/{segment(name)}"
    reply = api.get(path)
    return reply.status != 404 and expect(reply, f"read DaemonSet {namespace}/{name}").ok


def budgets(api: Api, namespace: str) -> Sequence[Manifest]:
    """PodDisruptionBudgets: policy/v1 since Kubernetes 1.21, policy/v1beta1 until 1.24."""
    for version in ("v1", "v1beta1"):
        path = f"/apis/policy/{version}/namespaces/{segment(namespace)}/poddisruptionbudgets"
        reply = api.get(path, limit=500)
        if reply.status != 404:
            found = expect(reply, f"list PodDisruptionBudgets of {namespace}")
            return tuple(found.body.get("items") or ())
    return ()


def delete_canary(api: Api, pod: Manifest) -> None:
    """Delete a canary pod of ours. Raises Refused for any other pod.

    With no grace, for which the object goes at once and the kubelet stops the pod without waiting
    for its next look at the runtime (1 s, twice). That the pod has ended, its node tells.
    """
    metadata = pod["metadata"]
    if CANARY_LABEL not in (metadata.get("labels") or {}):
        raise Refused(
            f"pod {metadata['namespace']}/{metadata['name']} is not a canary of ours; it was left"
        )
    reply = api.delete(
        _path(metadata), {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
    )
    if reply.status not in (404, 409):
        expect(reply, f"delete pod {metadata['namespace']}/{metadata['name']}")


def _path(metadata: Mapping[str, Any]) -> str:
    namespace, name = segment(metadata["namespace"]), segment(metadata["name"])
    return f"/api/v1/namespaces/{namespace}/pods/{name}"
