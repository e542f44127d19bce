"""Findings as a table for a terminal, then what to do about each rule."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace

from unshim.audit.finding import Finding, Subject
from unshim.core.plan import PlannedStep, Plans
from unshim.report.model import Meta, clean, cost, found, line, size, verdict

WIDTH = 120
ALIKE = 3  # as many nodes of which the same is said are one line
_HEADER = ("SEVERITY", "RULE", "OBJECT", "WHAT")


def render(findings: tuple[Finding, ...], plans: Plans, meta: Meta) -> str:
    """The whole report, at most WIDTH columns wide where names allow."""
    parts = ["\n".join([_summary(findings, meta), *map(line, meta.notes)])]
    if findings:
        parts += ["\n".join(_rows(findings)), "\n".join(_fixes(findings))]
    parts += plan_parts(plans)
    return "\n\n".join(part for part in parts if part) + "\n"


def _summary(findings: tuple[Finding, ...], meta: Meta) -> str:
    over = f" of {line(meta.scope)}" if meta.scope else ""
    return f"Audit{over}: {found(findings)}. {verdict(findings)}"


def _rows(findings: Sequence[Finding]) -> Iterator[str]:
    findings = [_merged(group) for group in _groups(findings)]
    cells = [(_word(f), f.rule, line(str(f.subject))) for f in findings]
    widths = [max(len(cell[i]) for cell in [*cells, _HEADER[:3]]) for i in range(3)]
    indent = sum(widths) + 6
    yield _joined(_HEADER[:3], widths) + _HEADER[3]
    for cell, finding in zip(cells, findings, strict=True):
        text = line(finding.message) + _where(finding)
        wrapped = _wrapped(text, max(WIDTH - indent, 40)) or [""]
        yield _joined(cell, widths) + wrapped[0]
        yield from (" " * indent + more for more in wrapped[1:])


def _groups(findings: Sequence[Finding]) -> Iterator[list[Finding]]:
    """Findings that say the same of many nodes, each group where its first member stands."""
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for finding in findings:
        said, kind = finding.message, finding.subject.kind
        name = finding.subject.name
        same = (said.replace(name, "NODE"),) if kind == "Node" else (said, str(finding.subject))
        groups.setdefault((_word(finding), finding.rule, *same), []).append(finding)
    for group in groups.values():
        yield from [group] if len(group) >= ALIKE else ([finding] for finding in group)


def _merged(group: Sequence[Finding]) -> Finding:
    first = group[0]
    if len(group) == 1:
        return first
    return replace(
        first,
        subject=Subject(kind="Node", name=f"({len(group)} nodes)"),
        message=first.message.replace(first.subject.name, "each"),
        nodes=tuple(finding.subject.name for finding in group),
    )


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Lines that never break inside a name or a path, so that both can be copied."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _word(finding: Finding) -> str:
    return "ignored" if finding.suppressed_by else finding.severity.value


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(f"{cell:<{width}}  " for cell, width in zip(cells, widths, strict=True))


def _where(finding: Finding) -> str:
    told = []
    if (finding.subject.kind != "Node" or len(finding.nodes) > 1) and finding.nodes:
        shown = ", ".join(finding.nodes[:3])
        more = f" and {len(finding.nodes) - 3} more" if len(finding.nodes) > 3 else ""
        told.append(f"on {shown}{more}")
    if finding.source:
        told.append(finding.source)
    if finding.suppressed_by:
        told.append(f"ignored: {line(finding.suppressed_by)}")
    return f" [{'; '.join(line(part) for part in told)}]" if told else ""


def _fixes(findings: Sequence[Finding]) -> Iterator[str]:
    """Each rule once, in the order of the table."""
    for finding in {f.rule: f for f in findings if not f.suppressed_by}.values():
        yield f"{finding.rule}: {finding.title}"
        yield from _paragraph(f"Why: {finding.why}")
        yield from _paragraph(f"Fix: {finding.fix}")
        if finding.link:
            yield f"    See: {line(finding.link)}"  # in one piece, so that it can be followed


def _paragraph(text: str) -> list[str]:
    return _wrapped(line(text), WIDTH - 4, "    ")


def plan_parts(plans: Plans) -> list[str]:
    """What a migration would do: said once for nodes of which the same is true."""
    alike: dict[tuple[PlannedStep, ...], list[str]] = {}
    for node, plan in sorted(plans.items()):
        alike.setdefault(plan.steps, []).append(node)
    return ["\n".join(_plan(steps, nodes, plans)) for steps, nodes in alike.items()]


def _plan(steps: Sequence[PlannedStep], nodes: Sequence[str], plans: Plans) -> Iterator[str]:
    names = ", ".join(line(node) for node in nodes)
    yield from _wrapped(f"A migration of {names} would run {len(steps)} steps:", WIDTH)
    for step in steps:
        yield f"  {step.state:<12}  {step.step}: {line(step.summary)}"
        yield from ("      " + clean(text) for text in step.diff.splitlines())
    for node in nodes:
        if told := cost(plans[node]):
            yield f"  {line(node)}: {told}"
        yield from (f"      {line(name)} ({size(count)})" for name, count in plans[node].handover)
