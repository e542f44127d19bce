"""Admission webhooks that a run goes through, and where the pods that answer them live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from unshim.audit import links
from unshim.audit.finding import Severity, Subject
from unshim.audit.rule import Hit, Survey, survey_rule
from unshim.core import eviction, selectors
from unshim.core.objects import Manifest

BLOCKER, WARNING, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO

#: What a run, or the pods that it moves, asks of the API: (resource, operation) -> for people.
_REQUESTS: Mapping[tuple[str, str], str] = {
    ("pods/eviction", "CREATE"): "evictions",
    ("pods", "CREATE"): "new pods",
    ("nodes", "UPDATE"): "changes of nodes",
}
#: Requests that the run itself makes: a webhook may refuse them even while it is well.
_OURS = frozenset({"evictions", "changes of nodes"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gate:
    """One webhook that fails closed and stands in the way of `requests`."""

    subject: Subject
    hook: Manifest
    requests: tuple[str, ...]
    pods: tuple[Manifest, ...] = ()

    @property
    def service(self) -> str:
        """`namespace/name`; empty when the webhook is called by a URL."""
        named = (self.hook.get("clientConfig") or {}).get("service") or {}
        return f"{named.get('namespace', '')}/{named.get('name', '')}" if named else ""

    @property
    def told(self) -> str:
        return f"{self.hook.get('name', '(unnamed)')} decides over {', '.join(self.requests)}"


@survey_rule(
    "admission-webhook",
    INFO,
    title="A webhook that fails closed stands between the run and the API",
    why="With failurePolicy Fail, requests are refused while nobody answers the webhook. When the "
    "pods that answer it all run on the node to be drained, evictions, the cordon or the pods' own "
    "successors are refused from the moment they leave.",
    fix="Run more than one replica of the webhook, on several nodes, and let its namespaceSelector "
    "leave out its own namespace and kube-system.",
    link=f"{links.K8S}reference/access-authn-authz/extensible-admission-controllers/",
)
def admission_webhook(survey: Survey) -> Iterator[Hit]:
    targets = {node.name for node in survey.nodes if node.on_docker}
    for gate in _gates(survey):
        nodes = {str(pod["spec"].get("nodeName", "")) for pod in gate.pods} - {""}
        if gate.service and not gate.pods and survey.snapshot.whole_cluster:
            message = f"no pod answers for its Service {gate.service}: they are refused already"
            yield _hit(gate, message, WARNING)
        elif len(nodes) == 1 and nodes <= targets:
            (node,) = nodes
            yield _alone(gate, node)
        elif _OURS & set(gate.requests):
            where = f"answered from {len(nodes)} nodes" if nodes else "it may refuse them"
            yield _hit(gate, where, INFO)


def _hit(gate: _Gate, message: str, severity: Severity, nodes: tuple[str, ...] = ()) -> Hit:
    return Hit(
        message=f"{gate.told}; {message}", severity=severity, subject=gate.subject, nodes=nodes
    )


def _alone(gate: _Gate, node: str) -> Hit:
    """All the pods that answer are on one target."""
    if _locks_itself_out(gate):
        message = (
            f"the one pod that answers runs on {node}, and its successor would have to pass it: "
            "evicted, it never comes back"
        )
        return _hit(gate, message, BLOCKER, (node,))
    return _hit(gate, f"all {len(gate.pods)} pods that answer run on {node}", WARNING, (node,))


def _locks_itself_out(gate: _Gate) -> bool:
    """Certainly: one evictable pod, and a webhook that leaves nothing out."""
    narrowed = ("namespaceSelector", "objectSelector", "matchConditions")
    if "new pods" not in gate.requests or any(gate.hook.get(name) for name in narrowed):
        return False
    stays = any(eviction.mirror(pod) or eviction.daemon_set_of(pod) for pod in gate.pods)
    return len(gate.pods) == 1 and not stays


def _gates(survey: Survey) -> list[_Gate]:
    found = [
        _Gate(subject=_subject(hooks), hook=hook, requests=requests)
        for hooks in survey.snapshot.webhooks
        for hook in hooks.get("webhooks") or ()
        if _fails_closed(hooks, hook) and (requests := _requests(hook))
    ]
    answering = _answering(survey, {gate.service for gate in found} - {""})
    return [replace(gate, pods=answering.get(gate.service, ())) for gate in found]


def _subject(hooks: Manifest) -> Subject:
    return Subject(kind=str(hooks.get("kind", "")), name=str(hooks["metadata"]["name"]))


def _fails_closed(hooks: Manifest, hook: Manifest) -> bool:
    """v1 fails closed unless told otherwise; v1beta1 failed open."""
    default = "Ignore" if str(hooks.get("apiVersion", "")).endswith("v1beta1") else "Fail"
    return (hook.get("failurePolicy") or default) == "Fail"


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


def _answering(survey: Survey, services: set[str]) -> Mapping[str, tuple[Manifest, ...]]:
    """The live pods behind each of these Services, in one pass over the pods."""
    wanted: dict[str, list[tuple[str, Manifest]]] = {}
    for service in survey.snapshot.services:
        meta, selector = service["metadata"], (service.get("spec") or {}).get("selector")
        key = f"{meta.get('namespace', '')}/{meta['name']}"
        if selector and key in services:
            wanted.setdefault(meta.get("namespace", ""), []).append((key, selector))
    found: dict[str, list[Manifest]] = {}
    for pod in survey.snapshot.pods:
        meta = pod["metadata"]
        for key, selector in wanted.get(meta.get("namespace", ""), ()):
            selected = selectors.matches({"matchLabels": selector}, meta.get("labels") or {})
            if selected and not eviction.finished(pod):
                found.setdefault(key, []).append(pod)
    return {key: tuple(pods) for key, pods in found.items()}
