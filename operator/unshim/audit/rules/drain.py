"""The drain, rehearsed: which pods may not leave, which cannot, and which are lost."""

from __future__ import annotations

from collections.abc import Iterator

from unshim.audit import links
from unshim.audit.finding import Severity, Subject
from unshim.audit.rule import Hit, NodeView, Survey, node_rule
from unshim.core import eviction
from unshim.core.eviction import Judgement, Verdict
from unshim.core.objects import Manifest

BLOCKER, WARNING, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO


def _subject(pod: Manifest) -> Subject:
    meta = pod["metadata"]
    return Subject(kind="Pod", namespace=meta.get("namespace", ""), name=str(meta["name"]))


@node_rule(
    "drain-refused",
    BLOCKER,
    title="The drain would refuse this pod",
    why="As with kubectl drain, pods that would not come back, and data that would be lost, need "
    "an explicit yes.",
    fix="Set the option that is named, or move the pod away first.",
    link=links.DRAIN,
)
def drain_refused(node: NodeView, survey: Survey) -> Iterator[Hit]:
    planned = survey.snapshot.options is not None
    for judgement in node.judged:
        if judgement.verdict is Verdict.REFUSE:
            local_data = judgement.option == "drain.deleteEmptyDirData"
            softer = INFO if local_data else WARNING
            yield Hit(
                message=f"{judgement.key} on {node.name}: {judgement.reason}",
                severity=BLOCKER if planned else softer,
                fix=f"Set spec.{judgement.option}, or move the pod away first.",
                subject=_subject(judgement.pod),
                chain=survey.chain(judgement.pod),
            )


@node_rule(
    "eviction-blocked",
    WARNING,
    title="A PodDisruptionBudget holds this pod",
    why="The drain waits until the budget allows the eviction. If it never does, the drain times "
    "out, and the node is uncordoned and left as it was.",
    fix="Give the workload another replica, or the budget more room. When its pods are ill, repair "
    "them, or set unhealthyPodEvictionPolicy: AlwaysAllow (Kubernetes 1.27 and later).",
    link=f"{links.K8S}tasks/run-application/configure-pdb/",
)
def eviction_blocked(node: NodeView, survey: Survey) -> Iterator[Hit]:
    for judgement in node.judged:
        if judgement.verdict is not Verdict.EVICT:
            continue
        answer = survey.snapshot.evictions.get(judgement.key)
        if answer is not None and answer.verdict == "refused":
            yield _held(judgement, survey, f"eviction is refused: {answer.message}", BLOCKER)
        elif answer is not None and answer.verdict == "blocked":
            yield _held(judgement, survey, f"eviction is blocked now: {answer.message}", WARNING)
        elif answer is None:
            yield from _by_budget(judgement, survey)


def _by_budget(judgement: Judgement, survey: Survey) -> Iterator[Hit]:
    """What the budgets say, when no eviction was rehearsed."""
    pod = judgement.pod
    if (pod.get("status") or {}).get("phase") == "Pending":
        return  # the API server evicts a pending pod whatever the budget says
    nearby = survey.budgets.get(pod["metadata"].get("namespace", ""), ())
    budgets = eviction.budgets_of(pod, nearby)
    names = ", ".join(sorted(b["metadata"]["name"] for b in budgets))
    if len(budgets) > 1:
        told = f"two budgets select it ({names}): it can never be evicted"
        yield _held(judgement, survey, told, BLOCKER)
    elif budgets and (budgets[0].get("status") or {}).get("disruptionsAllowed") == 0:
        yield _held(judgement, survey, f"budget {names} allows no disruption now", WARNING)


def _held(judgement: Judgement, survey: Survey, message: str, severity: Severity) -> Hit:
    return Hit(
        message=f"{judgement.key}: {message}",
        severity=severity,
        subject=_subject(judgement.pod),
        chain=survey.chain(judgement.pod),
    )


@node_rule(
    "runs-twice",
    BLOCKER,
    title="A pod would run a second time",
    why="A pod with restartPolicy Never or OnFailure that stays on the node is started again by "
    "the new runtime, which does not know that it ran: a job would be done twice.",
    fix="Let the drain evict it: widen drain.podSelector.",
    link=f"{links.K8S}concepts/workloads/pods/pod-lifecycle/#restart-policy",
)
def runs_twice(node: NodeView, survey: Survey) -> Iterator[Hit]:
    for judgement in node.judged:
        pod = judgement.pod
        once = (pod.get("spec") or {}).get("restartPolicy") in ("Never", "OnFailure")
        stays = judgement.verdict is Verdict.KEEP and not eviction.finished(pod)
        if once and stays and not _managed(judgement) and "ended" not in judgement.reason:
            yield Hit(
                message=f"{judgement.key} on {node.name}",
                subject=_subject(pod),
                chain=survey.chain(pod),
            )


def _managed(judgement: Judgement) -> bool:
    """Something else decides when it runs again."""
    pod = judgement.pod
    return (
        eviction.mirror(pod)
        or eviction.daemon_set_of(pod) is not None
        or "canary" in judgement.reason
    )


@node_rule(
    "pods-outlive-drain",
    INFO,
    title="Pods stay on the node during the switch",
    why="DaemonSet pods and static pods are not evicted. They restart with the runtime.",
    fix="Nothing to do: the proof waits until they are back.",
    link=links.DRAIN,
)
def pods_outlive_drain(node: NodeView, _: Survey) -> Iterator[Hit]:
    kept = [j for j in node.judged if j.verdict is Verdict.KEEP and not eviction.finished(j.pod)]
    if kept:
        yield Hit(message=f"{len(kept)} pods on {node.name} restart with the runtime")
