"""What a report holds besides findings, and the text rules that all faces share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from unshim.audit.finding import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a migration. `state` is "would apply", "already so" or "cannot tell"."""

    step: str
    summary: str
    state: str
    diff: str = ""  # unified; empty for scripts

    @classmethod
    def of(cls, entry: Mapping[str, str]) -> Step:
        """From an entry of a dry run's plan."""
        fields = ("step", "summary", "state", "diff")
        return cls(**{name: str(entry.get(name, "")) for name in fields})


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """What a migration of one node would do, and what it would cost.

    `down_seconds` is how long pods that stay on the node are down: (least, most).
    """

    steps: tuple[Step, ...] = ()
    images: int = 0
    image_bytes: int = 0
    down_seconds: tuple[int, int] | None = None


Plans = Mapping[str, NodePlan]


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """When, by which version and over what the audit was made. `scope` is for people."""

    at: datetime
    version: str
    scope: str = ""
    nodes: int = 0
    workloads: int = 0


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


def size(count: int) -> str:
    """Bytes for people: `1.5 GiB`."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def cost(plan: NodePlan) -> str:
    """The plan's numbers in one line; empty when it has none."""
    told = []
    if plan.images:
        told.append(f"{plan.images} images to copy ({size(plan.image_bytes)})")
    if plan.down_seconds is not None:
        least, most = plan.down_seconds
        told.append(f"pods that stay are down for {least} to {most} s")
    return ", ".join(told)
