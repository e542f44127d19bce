"""What a report holds besides findings, and the text rules that all faces share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from unshim.audit.finding import Finding, counts
from unshim.core.plan import NodePlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """When, by which version and over what the audit was made. `scope` is for people.

    `notes` say what a reader must know of the report itself, such as what was left out of it.
    """

    at: datetime
    version: str
    scope: str = ""
    nodes: int = 0
    workloads: int = 0
    notes: tuple[str, ...] = ()


#: What no terminal, XML document or YAML stream should be sent: control characters and surrogates.
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")


def clean(text: str) -> str:
    """The text with unsafe characters replaced by `?`. Line breaks and tabs stay.

    Names and values in findings come from whoever may write to the cluster.
    """
    return _UNSAFE.sub("?", text)


def line(text: str) -> str:
    """The text on one line."""
    return " ".join(clean(text).split())


def verdict(findings: tuple[Finding, ...]) -> str:
    """The audit's answer in one sentence."""
    blockers = sum(finding.blocks for finding in findings)
    if blockers:
        return f"{blockers} blocker{'s' if blockers > 1 else ''}: a migration would be refused."
    return "No blocker: a migration may begin."


def found(findings: tuple[Finding, ...]) -> str:
    """How many findings of each severity: `1 blocker, 3 warning`."""
    told = (f"{count} {word}" for word, count in counts(findings).items() if count)
    return ", ".join(told) or "nothing found"


def size(count: int) -> str:
    """Bytes for people: `1.5 GiB`."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def cost(plan: NodePlan) -> str:
    """The plan's numbers in one line; empty when it has none."""
    told = []
    if plan.handover:
        told.append(f"{len(plan.handover)} images to copy ({size(plan.image_bytes)})")
    if plan.down_seconds is not None:
        least, most = plan.down_seconds
        told.append(f"pods that stay are down for {least} to {most} s")
    return ", ".join(told)
