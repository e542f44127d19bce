"""A report small enough for a ConfigMap: what is left out is the least needed, and it is said.

etcd takes objects up to 1.5 MB, the API server ConfigMaps up to 1 MiB of data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from unshim.audit.finding import Finding
from unshim.core.plan import NodePlan, Plans
from unshim.report import structured, table
from unshim.report.model import Meta

LIMIT = 900 * 1024  # bytes of both texts together
DIFFS = (20_000, 4_000, 0)  # characters kept of each step's diffs, tried in this order


def keep(
    findings: tuple[Finding, ...], plans: Plans, meta: Meta, limit: int = LIMIT
) -> Mapping[str, str]:
    """`report.json` and `report.txt`, together at most `limit` bytes.

    Diffs are cut first, then the mildest findings; notes in both texts say so.
    """
    texts: dict[str, str] = {}
    for fewer, shorter, notes in _smaller(findings, plans):
        said = replace(meta, notes=(*meta.notes, *notes))
        texts = {
            "report.json": structured.render_json(fewer, shorter, said),
            "report.txt": table.render(fewer, shorter, said),
        }
        if sum(len(text.encode(errors="replace")) for text in texts.values()) <= limit:
            break
    return texts


_Smaller = tuple[tuple[Finding, ...], Plans, tuple[str, ...]]


def _smaller(findings: tuple[Finding, ...], plans: Plans) -> Iterator[_Smaller]:
    yield findings, plans, ()
    for length in DIFFS:
        note = f"To keep this report small, diffs were cut to {length} characters a step."
        yield findings, {node: _cut(plan, length) for node, plan in plans.items()}, (note,)
    bare = {node: _cut(plan, 0) for node, plan in plans.items()}
    kept = len(findings)
    while kept:
        kept //= 2
        note = f"To keep this report small, diffs and {len(findings) - kept} findings were left out"
        yield findings[:kept], bare, (f"{note}: the mildest.",)


def _cut(plan: NodePlan, length: int) -> NodePlan:
    steps = tuple(
        replace(
            step, diff=f"{step.diff[:length]}\n(cut)\n" if len(step.diff) > length else step.diff
        )
        for step in plan.steps
    )
    return replace(plan, steps=steps)
