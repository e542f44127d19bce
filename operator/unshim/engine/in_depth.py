"""A node as only the node itself can tell it, for an audit that no run belongs to. Reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unshim import audit
from unshim.core.facts import NodeFacts
from unshim.core.objects import Eviction, Manifest
from unshim.core.options import Options
from unshim.core.plan import NodePlan
from unshim.drain import Drain
from unshim.engine import planning, preflight, pulling
from unshim.engine.tools import Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class InDepth:
    """What one connection to a node has shown. `evictions` as in Snapshot."""

    facts: NodeFacts
    evictions: Mapping[str, Eviction]
    unpullable: Mapping[str, str]  # image -> why; empty when pulls were not rehearsed
    plan: NodePlan | None  # None: see planning.plan


def look(tools: Tools, options: Options, pods: Sequence[Manifest], *, rehearse: bool) -> InDepth:
    """Facts and plan over one connection; takes no Lease, since nothing is changed.

    `pods` are those of the node. `rehearse` asks the API server to evict them, as a dry run, and
    registries for the manifests of images that will be pulled.
    Raises NodeNotFound, NodeUnreachable, StepFailed, or Refused when SSH is.
    """
    node = tools.cluster.node(options.node)
    evictions = _rehearsed(tools, options, pods) if rehearse else {}
    playbook = tools.playbooks(options.playbook)
    machine = tools.machines.open(node, "")
    try:
        facts = machine.facts()
        unpullable = pulling.failures(tools, machine, facts, options, pods) if rehearse else {}
        before = audit.preflight(node, pods, facts, options, now=tools.clock.now())
        plan = planning.plan(tools, playbook, machine, before)
    finally:
        machine.close()
    return InDepth(facts=facts, evictions=evictions, unpullable=unpullable, plan=plan)


def _rehearsed(tools: Tools, options: Options, pods: Sequence[Manifest]) -> Mapping[str, Eviction]:
    orphaned = Drain(tools.cluster, options.drain).orphans(pods)
    return preflight.rehearsed(tools, options.drain, pods, orphaned)
