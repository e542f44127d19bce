"""A node's plan with its numbers: from a dry run's steps and the node's facts."""

from __future__ import annotations

from collections.abc import Sequence

from unshim.audit.rules.kubelet import may_probe_metadata
from unshim.audit.survey import NodeView
from unshim.core import edits, eviction, images
from unshim.core.eviction import Verdict
from unshim.core.facts import NodeFacts
from unshim.core.plan import NodePlan, PlannedStep
from unshim.errors import UnsupportedNode

#: Measured on kubeadm 1.20.2 nodes with Docker 20.10 and containerd 1.6: stopping and starting the
#: services takes 1.3 s, the kubelet's start 0.5 s, and the first pods run about a second later.
FLOOR_SECONDS = 3
#: A kubelet that asks a black-holed cloud metadata address starts this much later (measured).
METADATA_SECONDS = 9


def node_plan(steps: Sequence[PlannedStep], node: NodeView, facts: NodeFacts) -> NodePlan:
    """The steps, in order, with the numbers that the facts give."""
    try:
        handover = images.handover_sizes(facts, node.pods)
        total = images.handover_bytes(facts, node.pods)
    except UnsupportedNode:
        handover, total = (), 0
    return NodePlan(
        steps=tuple(steps), handover=handover, image_bytes=total, down_seconds=down_seconds(node)
    )


def down_seconds(node: NodeView) -> tuple[int, int]:
    """How long pods that stay on the node are down, at least and at most, in seconds.

    At most: some container ignores SIGTERM and is killed after its time, and the kubelet waits for
    a metadata service. Images are copied before, and do not count.
    """
    stay = any(
        judgement.verdict is Verdict.KEEP and not eviction.finished(judgement.pod)
        for judgement in node.judged
    )
    most = FLOOR_SECONDS + (edits.STOP_SECONDS if stay else 0)
    return FLOOR_SECONDS, most + (METADATA_SECONDS if may_probe_metadata(node) else 0)
