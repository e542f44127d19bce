"""Admission webhooks that a run goes through, and where the pods that answer them live."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence

from unshim.audit import links
from unshim.audit.finding import Severity, Subject
from unshim.audit.rule import Hit, Survey, survey_rule
from unshim.core import eviction, selectors, webhooks
from unshim.core.objects import Manifest
from unshim.core.webhooks import Gate

BLOCKER, WARNING, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO

#: Requests that the run itself makes: a webhook may refuse them even while it is well.
_OURS = frozenset({"evictions", "changes of nodes"})


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
    gates = webhooks.gates(survey.snapshot.webhooks)
    answering = _answering(survey, {gate.service for gate in gates} - {None})
    for gate in gates:
        pods = answering.get(gate.service, ())
        nodes = {str(pod["spec"].get("nodeName", "")) for pod in pods} - {""}
        if gate.service and not pods and survey.snapshot.whole_cluster:
            service = "/".join(gate.service)
            message = f"no pod answers for its Service {service}: they are refused already"
            yield _hit(gate, message, WARNING)
        elif len(nodes) == 1 and nodes <= targets:
            (node,) = nodes
            yield _alone(gate, pods, node)
        elif _OURS & set(gate.requests):
            where = f"answered from {len(nodes)} nodes" if nodes else "it may refuse them"
            yield _hit(gate, where, INFO)


def _hit(gate: Gate, message: str, severity: Severity, nodes: tuple[str, ...] = ()) -> Hit:
    kept = gate.configuration
    told = f"{gate.hook.get('name', '(unnamed)')} decides over {', '.join(gate.requests)}"
    return Hit(
        message=f"{told}; {message}",
        severity=severity,
        subject=Subject(kind=str(kept.get("kind", "")), name=str(kept["metadata"]["name"])),
        nodes=nodes,
    )


def _alone(gate: Gate, pods: Sequence[Manifest], node: str) -> Hit:
    """All the pods that answer are on one target."""
    if _locks_itself_out(gate, pods):
        message = (
            f"the one pod that answers runs on {node}, and its successor would have to pass it: "
            "evicted, it never comes back"
        )
        return _hit(gate, message, BLOCKER, (node,))
    return _hit(gate, f"all {len(pods)} pods that answer run on {node}", WARNING, (node,))


def _locks_itself_out(gate: Gate, pods: Sequence[Manifest]) -> bool:
    """Certainly: one evictable pod, and a webhook that leaves nothing out."""
    narrowed = ("namespaceSelector", "objectSelector", "matchConditions")
    if "new pods" not in gate.requests or any(gate.hook.get(name) for name in narrowed):
        return False
    stays = any(eviction.mirror(pod) or eviction.daemon_set_of(pod) for pod in pods)
    return len(pods) == 1 and not stays


def _answering(
    survey: Survey, services: Container[tuple[str, str] | None]
) -> Mapping[tuple[str, str] | None, tuple[Manifest, ...]]:
    """The live pods behind each of these Services, in one pass over the pods."""
    wanted: dict[str, list[tuple[tuple[str, str], Mapping[str, str]]]] = {}
    for service in survey.snapshot.services:
        meta, labels = service["metadata"], webhooks.selector(service)
        key = str(meta.get("namespace", "")), str(meta["name"])
        if labels and key in services:
            wanted.setdefault(key[0], []).append((key, labels))
    found: dict[tuple[str, str] | None, list[Manifest]] = {}
    for pod in survey.snapshot.pods:
        meta = pod["metadata"]
        for key, labels in wanted.get(meta.get("namespace", ""), ()):
            selected = selectors.matches({"matchLabels": labels}, meta.get("labels") or {})
            if selected and not eviction.finished(pod):
                found.setdefault(key, []).append(pod)
    return {key: tuple(pods) for key, pods in found.items()}
