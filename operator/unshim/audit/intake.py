"""Collects a cluster page by page and keeps of each object only what the rules look at.

Pods of one owner share their containers and volumes in memory, so that a cluster of 150,000 pods
fits into a few hundred MB. The caller lists and parses; it drops each page after `add`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from unshim.audit.snapshot import Snapshot
from unshim.core.objects import Manifest

#: Kind -> field of Snapshot. Any other kind is a controller.
_FIELDS = {
    "Node": "nodes",
    "Pod": "pods",
    "PodDisruptionBudget": "budgets",
    "PersistentVolume": "volumes",
    "ConfigMap": "config_maps",
    "RuntimeClass": "runtime_classes",
    "PodSecurityPolicy": "security_policies",
    "ValidatingWebhookConfiguration": "webhooks",
    "MutatingWebhookConfiguration": "webhooks",
    "Service": "services",
}
#: The kinds to list, with the collection's path; each is asked for where the API server has it.
PATHS: Mapping[str, tuple[str, ...]] = {
    "Node": ("/api/v1/nodes",),
    "Pod": ("/api/v1/pods",),
    "Deployment": ("/apis/apps/v1/deployments",),
    "StatefulSet": ("/apis/apps/v1/statefulsets",),
    "DaemonSet": ("/apis/apps/v1/daemonsets",),
    "ReplicaSet": ("/apis/apps/v1/replicasets",),
    "ReplicationController": ("/api/v1/replicationcontrollers",),
    "Job": ("/apis/batch/v1/jobs",),
    "CronJob": ("/apis/batch/v1/cronjobs", "/apis/batch/v1beta1/cronjobs"),
    "PodTemplate": ("/api/v1/podtemplates",),
    "PodDisruptionBudget": (
        "/apis/policy/v1/poddisruptionbudgets",
        "/apis/policy/v1beta1/poddisruptionbudgets",
    ),
    "PersistentVolume": ("/api/v1/persistentvolumes",),
    "ConfigMap": ("/api/v1/configmaps",),
    "RuntimeClass": (
        "/apis/node.k8s.io/v1/runtimeclasses",
        "/apis/node.k8s.io/v1beta1/runtimeclasses",
    ),
    "PodSecurityPolicy": ("/apis/policy/v1beta1/podsecuritypolicies",),
    "ValidatingWebhookConfiguration": tuple(
        f"/apis/admissionregistration.k8s.io/{version}/validatingwebhookconfigurations"
        for version in ("v1", "v1beta1")
    ),
    "MutatingWebhookConfiguration": tuple(
        f"/apis/admissionregistration.k8s.io/{version}/mutatingwebhookconfigurations"
        for version in ("v1", "v1beta1")
    ),
    "Service": ("/api/v1/services",),
}
_MAX_CONFIG = 256 * 1024  # characters of a ConfigMap; certificates and dashboards are longer
_METADATA = ("name", "namespace", "uid", "labels", "annotations", "deletionTimestamp")
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_UNUSED_IN_PODS = frozenset(
    ("tolerations", "affinity", "schedulerName", "dnsPolicy", "priority", "serviceAccount")
)
_STATUSES = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")


class Intake:
    """Takes objects in any order and makes the Snapshot of them. Used by one thread."""

    def __init__(self) -> None:
        self._found: dict[str, list[Manifest]] = {}
        self._shared: dict[tuple[Any, ...], Any] = {}

    def add(self, kind: str, items: Iterable[Manifest], api_version: str = "") -> None:
        """Items of a list do not carry their kind, so the list's is given."""
        found = self._found.setdefault(_FIELDS.get(kind, "controllers"), [])
        for item in items:
            found.append(self._kept(kind, {**item, "apiVersion": api_version}))

    def snapshot(self, *, now: datetime, **more: Any) -> Snapshot:
        """Everything so far; `more` sets further fields of Snapshot."""
        fields: dict[str, Any] = {name: tuple(items) for name, items in self._found.items()}
        return Snapshot(now=now, **fields, **more)

    def _kept(self, kind: str, item: Manifest) -> Manifest:
        kept = {"kind": kind, "apiVersion": item["apiVersion"], "metadata": self._metadata(item)}
        match kind:
            case "Pod":
                return {**kept, "spec": self._pod_spec(item), "status": self._pod_status(item)}
            case "ConfigMap":
                return {**kept, "data": _config(item)}
            case "RuntimeClass":
                return {**kept, "handler": item.get("handler")}
            case "Service":
                return {**kept, "spec": {"selector": (item.get("spec") or {}).get("selector")}}
            case "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration":
                return {**kept, "webhooks": [_webhook(hook) for hook in item.get("webhooks") or ()]}
            case "PodTemplate":
                return {**kept, "template": item.get("template")}
            case "ReplicaSet":
                return {**kept, "spec": self._replica_set_spec(item)}
            case "Deployment":
                return {**kept, "spec": self._templated(item, ("Deployment", *_named(item)))}
            case "Node" | "PodDisruptionBudget":
                status = {k: v for k, v in (item.get("status") or {}).items() if k != "images"}
                return {**kept, "spec": item.get("spec") or {}, "status": status}
        return {**kept, "spec": item.get("spec") or {}}

    def _metadata(self, item: Manifest) -> Manifest:
        meta = item["metadata"]
        kept = {key: meta[key] for key in _METADATA if key in meta}
        if "namespace" in kept:
            kept["namespace"] = self._share(("namespace", meta["namespace"]), meta["namespace"])
        if _LAST_APPLIED in (kept.get("annotations") or {}):
            rest = {k: v for k, v in kept["annotations"].items() if k != _LAST_APPLIED}
            kept["annotations"] = rest
        if owner := _owner(item):
            wanted = ("kind", "name", "controller")
            owners = [o for o in meta["ownerReferences"] if o.get("controller")]
            short = [{key: o.get(key) for key in wanted} for o in owners]
            kept["ownerReferences"] = self._share((*owner, "owners"), short)
            kept["labels"] = self._share((*owner, "labels"), kept.get("labels") or {})
        return kept

    def _pod_spec(self, pod: Manifest) -> Manifest:
        spec = pod.get("spec") or {}
        owner = _owner(pod)
        if owner is None:
            return spec
        kept = {
            name: value if isinstance(value, int) else self._share((*owner, name), value)
            for name, value in spec.items()
            if name not in _UNUSED_IN_PODS
        }
        if "nodeName" in kept:  # the one text that the pods of an owner do not have in common
            kept["nodeName"] = self._share(("node", spec["nodeName"]), spec["nodeName"])
        return kept

    def _pod_status(self, pod: Manifest) -> Manifest:
        status = pod.get("status") or {}
        phase = status.get("phase", "")
        kept: Manifest = self._share(("phase", phase), {"phase": phase})
        if pod["metadata"].get("deletionTimestamp"):  # only then do container states matter
            kept = {**kept, **{name: status[name] for name in _STATUSES if name in status}}
        if (pod["metadata"].get("labels") or {}).get("component") == "etcd":
            kept = {**kept, "conditions": status.get("conditions") or []}  # is this member well?
        return kept

    def _replica_set_spec(self, item: Manifest) -> Manifest:
        """An old one, scaled to nothing, will not run again by itself: its template is dropped."""
        if (item.get("spec") or {}).get("replicas") == 0:
            return {"replicas": 0}
        return self._templated(item, _owner(item) or ("ReplicaSet", *_named(item)))

    def _templated(self, item: Manifest, top: tuple[Any, ...]) -> Manifest:
        """A Deployment and its current ReplicaSet share the template's spec."""
        spec = item.get("spec") or {}
        template = spec.get("template") or {}
        if "spec" not in template:
            return spec
        shared = self._share((*top, "template"), template["spec"])
        return {**spec, "template": {**template, "spec": shared}}

    def _share(self, key: tuple[Any, ...], value: Any) -> Any:
        """The value that the key's first user had, if it is equal."""
        known = self._shared.setdefault(key, value)
        return known if known == value else value


def _named(item: Manifest) -> tuple[Any, Any]:
    return item["metadata"].get("namespace"), item["metadata"].get("name")


def _owner(item: Manifest) -> tuple[Any, Any, Any] | None:
    """(kind, namespace, name) of the first controlling owner."""
    meta = item["metadata"]
    for owner in meta.get("ownerReferences") or ():
        if owner.get("controller"):
            return owner.get("kind"), meta.get("namespace"), owner.get("name")
    return None


def _webhook(hook: Manifest) -> Manifest:
    """Without the certificate of its authority."""
    client = {k: v for k, v in (hook.get("clientConfig") or {}).items() if k != "caBundle"}
    return {**hook, "clientConfig": client}


def _config(config_map: Manifest) -> Manifest:
    """Short texts only; nothing that a rule looks for is as long as a dashboard."""
    data = config_map.get("data") or {}
    return {key: value for key, value in data.items() if len(value) <= _MAX_CONFIG}
