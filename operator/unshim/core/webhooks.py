"""Admission webhooks that a run must pass: which of them, for what, and who answers.

Fields and defaults: ValidatingWebhookConfiguration of admissionregistration.k8s.io, v1 and v1beta1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from unshim.core.objects import Manifest

#: What a run, or the pods that it moves, asks of the API: (resource, operation) -> for people.
_REQUESTS: Mapping[tuple[str, str], str] = {
    ("pods/eviction", "CREATE"): "evictions",
    ("pods", "CREATE"): "new pods",
    ("nodes", "UPDATE"): "changes of nodes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhooks:
    """Validating- and MutatingWebhookConfigurations, and the Services and pods behind the gates."""

    configurations: tuple[Manifest, ...] = ()
    services: tuple[Manifest, ...] = ()
    pods: tuple[Manifest, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One webhook that fails closed and stands in the way of `requests`."""

    configuration: Manifest
    hook: Manifest
    requests: tuple[str, ...]

    @property
    def service(self) -> tuple[str, str] | None:
        """(namespace, name); None when the webhook is called by a URL."""
        named = (self.hook.get("clientConfig") or {}).get("service") or {}
        return (str(named.get("namespace", "")), str(named.get("name", ""))) if named else None


def gates(configurations: Iterable[Manifest]) -> tuple[Gate, ...]:
    """Every webhook whose silence would stop a run. Each configuration carries its apiVersion."""
    return tuple(
        Gate(configuration=configuration, hook=hook, requests=requests)
        for configuration in configurations
        for hook in configuration.get("webhooks") or ()
        if _fails_closed(configuration, hook) and (requests := _requests(hook))
    )


def services(configurations: Iterable[Manifest]) -> tuple[tuple[str, str], ...]:
    """(namespace, name) of each Service behind a gate, once."""
    return tuple(sorted({gate.service for gate in gates(configurations) if gate.service}))


def selector(service: Manifest) -> Mapping[str, str]:
    """The labels of the pods that answer; empty when the Service selects none."""
    return (service.get("spec") or {}).get("selector") or {}


def _fails_closed(configuration: Manifest, hook: Manifest) -> bool:
    """v1 fails closed unless told otherwise; v1beta1 failed open."""
    v1beta1 = str(configuration.get("apiVersion", "")).endswith("v1beta1")
    return (hook.get("failurePolicy") or ("Ignore" if v1beta1 else "Fail")) == "Fail"


def _requests(hook: Manifest) -> tuple[str, ...]:
    return tuple(
        told
        for (resource, operation), told in _REQUESTS.items()
        if any(_intercepts(rule, resource, operation) for rule in hook.get("rules") or ())
    )


def _intercepts(rule: Manifest, resource: str, operation: str) -> bool:
    """`*` means every resource but no subresource, `pods/*` all of a pod's, `*/*` everything."""
    groups, operations = rule.get("apiGroups") or (), rule.get("operations") or ()
    base, _, part = resource.partition("/")
    names = {resource, "*/*", *((f"{base}/*", f"*/{part}") if part else ("*",))}
    return bool(
        {"", "*"} & set(groups)
        and {operation, "*"} & set(operations)
        and names & set(rule.get("resources") or ())
    )
