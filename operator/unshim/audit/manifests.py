"""Manifests from files or a Helm rendering, as a Snapshot: `unshim audit -f`, with no cluster.

Reading and parsing YAML is the caller's business. Anything with a pod template counts, so Argo
Rollouts and other custom controllers are looked at too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from unshim.audit.auditing import audit
from unshim.audit.snapshot import SOURCE_KEY, Snapshot
from unshim.audit.workloads import template_of
from unshim.core.objects import Manifest
from unshim.errors import InvalidSpec

#: Kind -> field of Snapshot.
_FIELDS = {
    "Pod": "pods",
    "ConfigMap": "config_maps",
    "PersistentVolume": "volumes",
    "PodDisruptionBudget": "budgets",
    "PodSecurityPolicy": "security_policies",
    "RuntimeClass": "runtime_classes",
    "ValidatingWebhookConfiguration": "webhooks",
    "MutatingWebhookConfiguration": "webhooks",
    "Service": "services",
}


def snapshot(documents: Iterable[tuple[str, Any]], *, now: datetime) -> Snapshot:
    """`documents` are ("path:line", parsed document) pairs; kinds of no use are passed over.

    Raises InvalidSpec, naming the place, for an object that does not have the shape of its kind:
    silence about it would look like a clean bill.
    """
    found: dict[str, list[Manifest]] = {}
    for source, document in documents:
        for manifest in _objects(document):
            if name := _field(manifest):
                found.setdefault(name, []).append(_readable(name, manifest, source, now))
    fields: dict[str, Any] = {name: tuple(manifests) for name, manifests in found.items()}
    return Snapshot(now=now, whole_cluster=False, **fields)


def _readable(field: str, manifest: Manifest, source: str, now: datetime) -> Manifest:
    """The object, once every rule has been able to read it alone."""
    alone: dict[str, Any] = {}
    try:
        settled = _settled(manifest, source)
        alone[field] = (settled,)
        audit(Snapshot(now=now, whole_cluster=False, **alone))
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise InvalidSpec(
            f"{source}: this {manifest.get('kind')} is no valid Kubernetes object ({exc}). "
            "Nothing of it was audited. Check it with `kubectl apply --dry-run=server`."
        ) from exc
    return settled


def _objects(document: Any) -> Iterator[Manifest]:
    """The document, or the items of a List."""
    if not isinstance(document, Mapping):
        return
    if str(document.get("kind", "")).endswith("List") and isinstance(document.get("items"), list):
        kind = str(document["kind"]).removesuffix("List")
        for item in document["items"]:
            yield from _objects({"kind": kind, **item} if isinstance(item, Mapping) else None)
    else:
        yield document


def _field(manifest: Manifest) -> str:
    kind = str(manifest.get("kind", ""))
    if kind in _FIELDS:
        return _FIELDS[kind]
    try:
        template = template_of(manifest)
    except AttributeError:
        return ""  # a custom resource whose spec is no object
    return "controllers" if template is not None and _pod_template(template) else ""


def _pod_template(template: Manifest) -> bool:
    spec = template.get("spec")
    return isinstance(spec, Mapping) and isinstance(spec.get("containers"), list)


def _settled(manifest: Manifest, source: str) -> Manifest:
    """With a name, which generated objects lack, and the place it was read from."""
    meta = manifest.get("metadata")
    meta = meta if isinstance(meta, Mapping) else {}
    name = meta.get("name") or meta.get("generateName") or "(unnamed)"
    spec = manifest.get("spec") or {}
    return {**manifest, "spec": spec, "metadata": {**meta, "name": name}, SOURCE_KEY: source}
