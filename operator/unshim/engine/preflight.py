"""The audit's rules on one node, before anything is touched; a blocker refuses the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from unshim import audit
from unshim.audit.finding import Finding, Severity
from unshim.audit.ignores import parse as parse_ignore
from unshim.audit.snapshot import Snapshot
from unshim.audit.survey import survey
from unshim.core import eviction
from unshim.core.decide import View
from unshim.core.eviction import Verdict
from unshim.core.facts import NodeFacts
from unshim.core.objects import ETCD_LABELS, ETCD_NAMESPACE, Eviction, Manifest, Node
from unshim.core.options import DrainOptions, Options
from unshim.core.webhooks import Webhooks
from unshim.drain import Drain
from unshim.engine.session import Session
from unshim.engine.tools import Tools
from unshim.errors import Blocked


def snapshot(tools: Tools, session: Session, view: View, facts: NodeFacts) -> Snapshot:
    """All that the rules may know of the node that this run is about to change."""
    pods, drain = tools.cluster.pods_on(view.node.name), session.options.drain
    orphaned = Drain(tools.cluster, drain).orphans(pods)
    hooks = tools.cluster.webhooks()
    before = audit.preflight(
        view.node,
        (*pods, *_elsewhere(tools, view.node, hooks)),
        facts,
        session.options,
        now=view.now,
        peers=_peers(tools, view.node),
        budgets=_budgets(tools, pods),
        volumes=tuple(tools.cluster.volumes_of(pods)),
        runtime_classes=tuple(tools.cluster.runtime_classes_of(pods)),
        evictions=rehearsed(tools, drain, pods, orphaned),
        orphaned=orphaned,
        operator_node=tools.own_node,
        run=session.run,
        webhooks=hooks.configurations,
        services=hooks.services,
    )
    return replace(before, controllers=tuple(tools.cluster.owners_of(_grave(before))))


def findings(before: Snapshot, options: Options) -> tuple[Finding, ...]:
    """What the rules say, with what the options accept. Raises InvalidSpec for an unknown rule."""
    known = [rule.id for rule in audit.RULES]
    return audit.audit(before, [parse_ignore(word, known) for word in options.ignore_rules])


def blocked(node: str, found: Sequence[Finding], report: str) -> Blocked:
    """The refusal, in words. `report` is where the rest can be read, or empty."""
    blockers = [finding for finding in found if finding.blocks]
    said = "; ".join(f"{b.rule} {b.subject}: {b.message}" for b in blockers[:5])
    return Blocked(
        f"node {node} was not touched: {len(blockers)} blocker(s): {said}. Fix them, or accept one "
        f"by its id in spec.audit.ignore.{report}"
    )


def rehearsed(
    tools: Tools, drain: DrainOptions, pods: Sequence[Manifest], orphaned: frozenset[str]
) -> Mapping[str, Eviction]:
    """A dry-run eviction of each pod that the drain will evict: budgets answer, nothing moves."""
    leaving = {
        judgement.key
        for judgement in eviction.judge(pods, drain, orphaned)
        if judgement.verdict is Verdict.EVICT
    }
    return {
        key: tools.cluster.evict(pod, grace_seconds=None, dry_run=True)
        for pod in pods
        if (key := f"{pod['metadata'].get('namespace', '')}/{pod['metadata']['name']}") in leaving
    }


def _elsewhere(tools: Tools, node: Node, hooks: Webhooks) -> tuple[Manifest, ...]:
    """Pods of other nodes that rules ask about: who answers webhooks, and etcd's members."""
    members = tools.cluster.labelled(ETCD_NAMESPACE, ETCD_LABELS) if node.control_plane else ()
    found = {pod["metadata"]["uid"]: pod for pod in (*hooks.pods, *members)}
    return tuple(pod for pod in found.values() if pod["spec"].get("nodeName") != node.name)


def _grave(before: Snapshot) -> list[Manifest]:
    """Pods of workloads that would refuse the run, accepted or not.

    Their owners give the blocker the name that a whole audit gives it, and may carry its ignore.
    """
    blocking = {f.subject for f in audit.audit(before) if f.severity is Severity.BLOCKER}
    named = {
        (workload.subject.namespace, workload.chain[0])
        for workload in survey(before).workloads
        if workload.subject in blocking
    }
    return [
        pod
        for pod in before.pods
        if (pod["metadata"].get("namespace", ""), f"Pod/{pod['metadata']['name']}") in named
    ]


def _peers(tools: Tools, node: Node) -> Sequence[Node] | None:
    """The other nodes, for the rules about quorum; a worker is in none, and saves the list."""
    return tools.cluster.nodes() if node.control_plane else None


def _budgets(tools: Tools, pods: Sequence[Manifest]) -> tuple[Manifest, ...]:
    namespaces = sorted({pod["metadata"].get("namespace", "") for pod in pods})
    return tuple(b for namespace in namespaces for b in tools.cluster.budgets(namespace))
