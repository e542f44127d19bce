"""Admission webhooks, and who answers those that a run must pass. Reads only."""

from __future__ import annotations

from collections.abc import Iterator

from unshim.cluster import listing, pods, used
from unshim.cluster.api import Api, segment
from unshim.core import webhooks
from unshim.core.objects import Manifest
from unshim.core.webhooks import Webhooks
from unshim.errors import Forbidden

KINDS = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")


def behind(api: Api) -> Webhooks:
    """See ports.Cluster.webhooks."""
    try:
        configurations = tuple(one for kind in KINDS for one in _configurations(api, kind))
        wanted = [_service(api, *named) for named in webhooks.services(configurations)]
        services = tuple(service for service in wanted if service)
        answering = tuple(pod for service in services for pod in _answering(api, service))
    except Forbidden:
        return Webhooks()
    return Webhooks(configurations=configurations, services=services, pods=answering)


def _configurations(api: Api, kind: str) -> Iterator[Manifest]:
    if path := listing.served(api, kind):
        for item in api.items(path):
            yield {**item, "kind": kind, "apiVersion": listing.version_of(path)}


def _service(api: Api, namespace: str, name: str) -> Manifest | None:
    return used.read(api, f"/api/v1/namespaces/{segment(namespace)}/services/{segment(name)}")


def _answering(api: Api, service: Manifest) -> tuple[Manifest, ...]:
    labels = webhooks.selector(service)
    return tuple(pods.labelled(api, service["metadata"]["namespace"], labels)) if labels else ()
