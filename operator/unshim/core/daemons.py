"""The pods that belong to a node itself (DaemonSet, static), and whether they are Ready. Pure.

They cannot be drained, so they are what shows that a node came back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unshim.core import eviction
from unshim.core.objects import Manifest


def states(pods: Sequence[Manifest]) -> dict[str, bool]:
    """`ds/namespace/name` or `static/namespace/name` -> Ready, when any of its pods is."""
    found: dict[str, bool] = {}
    for pod in pods:
        daemon_set = eviction.daemon_set_of(pod)
        if eviction.finished(pod) or not (daemon_set or eviction.mirror(pod)):
            continue
        metadata = pod["metadata"]
        name = (
            f"ds/{daemon_set}"
            if daemon_set
            else f"static/{metadata['namespace']}/{metadata['name']}"
        )
        found[name] = found.get(name, False) or ready(pod)
    return found


def ready(pod: Manifest) -> bool:
    """Ready by its condition, or by the kubelet's own rule where the condition lags.

    A container without a readiness probe is ready once it runs and its startup probe has passed.
    Kubelets before 1.21 publish that only at their next resync, up to 90 s later (seen in the lab:
    a control plane's etcd), which is longer than a proof should take. Pods about to go never count.
    """
    if pod["metadata"].get("deletionTimestamp"):
        return False
    status, spec = pod.get("status") or {}, pod.get("spec") or {}
    conditions = status.get("conditions") or ()
    if any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions):
        return True
    containers = {c.get("name"): c for c in spec.get("containers") or ()}
    running = {s.get("name"): s for s in status.get("containerStatuses") or ()}
    return (
        bool(containers)
        and not spec.get("readinessGates")
        and all(_works(made, running.get(name) or {}) for name, made in containers.items())
    )


def _works(container: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """Runs, has started, and has no probe that could say otherwise."""
    return (
        "readinessProbe" not in container
        and "running" in (status.get("state") or {})
        and status.get("started") is True
    )
