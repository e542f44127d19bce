"""The audit's rules on one node, before anything is touched; a blocker refuses the run."""

from __future__ import annotations

from collections.abc import Sequence

from unshim import audit
from unshim.audit.ignores import parse as parse_ignore
from unshim.core import eviction
from unshim.core.decide import View
from unshim.core.eviction import Verdict
from unshim.core.facts import NodeFacts
from unshim.core.objects import Eviction, Manifest
from unshim.engine.session import Session
from unshim.engine.tools import Tools
from unshim.errors import Blocked


def check(tools: Tools, session: Session, view: View, facts: NodeFacts) -> None:
    """Raises Blocked with every blocker; a dry run keeps them as findings instead."""
    pods = tools.cluster.pods_on(view.node.name)
    snapshot = audit.preflight(
        view.node,
        pods,
        facts,
        session.options,
        now=view.now,
        budgets=_budgets(tools, pods),
        evictions=_rehearsed(tools, session, pods),
        operator_node=tools.own_node,
        run=session.run,
    )
    known = [rule.id for rule in audit.RULES]
    ignores = tuple(parse_ignore(word, known) for word in session.options.ignore_rules)
    findings = audit.audit(snapshot, ignores)
    session.findings = tuple(finding.as_status() for finding in findings)
    session.counts = audit.counts(findings)
    blockers = [finding for finding in findings if finding.blocks]
    session.blocked = bool(blockers)
    if blockers and not session.options.dry_run:
        said = "; ".join(f"{b.rule} {b.subject}: {b.message}" for b in blockers[:5])
        raise Blocked(
            f"node {view.node.name} was not touched: {len(blockers)} blocker(s): {said}. Fix them, "
            "or accept one by its id in spec.audit.ignore."
        )


def _budgets(tools: Tools, pods: Sequence[Manifest]) -> tuple[Manifest, ...]:
    namespaces = sorted({pod["metadata"].get("namespace", "") for pod in pods})
    return tuple(b for namespace in namespaces for b in tools.cluster.budgets(namespace))


def _rehearsed(tools: Tools, session: Session, pods: Sequence[Manifest]) -> dict[str, Eviction]:
    """A dry-run eviction of each pod that the drain will evict: budgets answer, nothing moves."""
    leaving = {
        judgement.key
        for judgement in eviction.judge(pods, session.options.drain, frozenset())
        if judgement.verdict is Verdict.EVICT
    }
    return {
        key: tools.cluster.evict(pod, grace_seconds=None, dry_run=True)
        for pod in pods
        if (key := f"{pod['metadata'].get('namespace', '')}/{pod['metadata']['name']}") in leaving
    }
