"""The audit's rules on one node, before anything is touched; a blocker refuses the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from unshim import audit
from unshim.audit.finding import Finding
from unshim.audit.ignores import parse as parse_ignore
from unshim.audit.snapshot import Snapshot
from unshim.core import eviction
from unshim.core.decide import View
from unshim.core.eviction import Verdict
from unshim.core.facts import NodeFacts
from unshim.core.objects import Eviction, Manifest, Node
from unshim.core.options import DrainOptions, Options
from unshim.drain import Drain
from unshim.engine.session import Session
from unshim.engine.tools import Tools
from unshim.errors import Blocked


def snapshot(tools: Tools, session: Session, view: View, facts: NodeFacts) -> Snapshot:
    """All that the rules may know of the node that this run is about to change."""
    pods, drain = tools.cluster.pods_on(view.node.name), session.options.drain
    orphaned = Drain(tools.cluster, drain).orphans(pods)
    return audit.preflight(
        view.node,
        pods,
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
    )


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


def _peers(tools: Tools, node: Node) -> Sequence[Node] | None:
    """The other nodes, for the rules about quorum; a worker is in none, and saves the list."""
    return tools.cluster.nodes() if node.control_plane else None


def _budgets(tools: Tools, pods: Sequence[Manifest]) -> tuple[Manifest, ...]:
    namespaces = sorted({pod["metadata"].get("namespace", "") for pod in pods})
    return tuple(b for namespace in namespaces for b in tools.cluster.budgets(namespace))
