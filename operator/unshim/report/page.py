"""Findings and plans as one HTML page: sortable, filterable, printable, dark and light.

The page has no external requests, and its policy forbids any. Whatever came from the cluster is
escaped; the script only moves and hides what is there.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape

from unshim.audit.finding import Finding, Severity
from unshim.core.plan import NodePlan, PlannedStep, Plans
from unshim.report.model import Meta, clean, cost, found, size, verdict
from unshim.report.page_parts import SCRIPT, STYLE

_COLUMNS = ("Severity", "Rule", "Object", "Nodes", "What")
_WORDS = (*(severity.value for severity in Severity), "ignored")


def render(findings: tuple[Finding, ...], plans: Plans, meta: Meta) -> str:
    """A whole document."""
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            _head(),
            "<body>",
            "<h1>unshim audit</h1>",
            f'<p class="about">{_about(findings, meta)}</p>',
            _verdict(findings),
            *(f"<p>{_text(note)}</p>" for note in meta.notes),
            _tools(findings),
            _table(findings),
            *(_plan(node, plan) for node, plan in sorted(plans.items())),
            f"<script>{SCRIPT}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _text(value: str) -> str:
    return escape(clean(value))


def _digest(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _head() -> str:
    policy = (
        f"default-src 'none'; style-src 'sha256-{_digest(STYLE)}'; "
        f"script-src 'sha256-{_digest(SCRIPT)}'"
    )
    return (
        '<head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>unshim audit</title><style>{STYLE}</style></head>"
    )


def _about(findings: tuple[Finding, ...], meta: Meta) -> str:
    told = [meta.scope, meta.at.strftime("%Y-%m-%d %H:%M UTC"), f"unshim {meta.version}"]
    return _text(" · ".join(part for part in (*told, found(findings)) if part))


def _verdict(findings: tuple[Finding, ...]) -> str:
    blocked = " blocked" if any(finding.blocks for finding in findings) else ""
    return f'<p class="verdict{blocked}">{_text(verdict(findings))}</p>'


def _tools(findings: tuple[Finding, ...]) -> str:
    buttons = '<button id="theme">Dark / light</button><button id="print">Print</button>'
    if not findings:
        return f'<div class="tools">{buttons}</div>'
    boxes = "".join(
        f'<label><input type="checkbox" value="{word}" checked> {word}</label>' for word in _WORDS
    )
    return (
        '<div class="tools"><input type="search" id="search" placeholder="Filter" '
        f'aria-label="Filter findings">{boxes}<span id="shown" role="status"></span>{buttons}</div>'
    )


def _table(findings: Sequence[Finding]) -> str:
    if not findings:
        return "<p>Nothing was found.</p>"
    heads = "".join(
        f'<th scope="col" aria-sort="none"><button>{column}</button></th>' for column in _COLUMNS
    )
    rows = "\n".join(_row(finding) for finding in findings)
    return (
        f'<table id="findings"><thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody></table>'
    )


def _row(finding: Finding) -> str:
    word = "ignored" if finding.suppressed_by else finding.severity.value
    style = f"{finding.severity.value} ignored" if finding.suppressed_by else word
    rank = len(Severity) if finding.suppressed_by else finding.severity.rank
    return (
        f'<tr class="{style}" data-word="{word}">'
        f'<td class="severity" data-key="{rank}">{word}</td>'
        f"<td><code>{_text(finding.rule)}</code></td>"
        f"<td>{_breakable(str(finding.subject))}</td><td>{_text(finding.node)}</td>"
        f"<td>{_text(finding.message)}{_details(finding)}</td></tr>"
    )


def _breakable(name: str) -> str:
    """An object's name that may break after its slashes."""
    return _text(name).replace("/", "/<wbr>")


def _details(finding: Finding) -> str:
    told = [f"<p>{_text(finding.why)}</p>", f"<p><b>Fix:</b> {_text(finding.fix)}</p>"]
    if len(finding.chain) > 1:
        told.append(f"<p>{_text(' → '.join(finding.chain))}</p>")
    if finding.source:
        told.append(f"<p><code>{_text(finding.source)}</code></p>")
    if finding.suppressed_by:
        told.append(f"<p><b>Ignored:</b> {_text(finding.suppressed_by)}</p>")
    told.append(f"<p>{_link(finding.link)}</p>")
    return f"<details><summary>{_text(finding.title)}</summary>{''.join(told)}</details>"


def _link(link: str) -> str:
    if link.startswith("https://"):
        return f'<a href="{_text(link)}" rel="noreferrer">{_text(link)}</a>'
    return f"<code>{_text(link)}</code>"


def _plan(node: str, plan: NodePlan) -> str:
    steps = "".join(_step(step) for step in plan.steps)
    told = cost(plan)
    return (
        f"<h2>What a migration of {_text(node)} would do</h2>"
        + (f"<p>{_text(told)}</p>" if told else "")
        + _images(plan)
        + "<table><thead><tr><th>Step</th><th>State</th><th>What</th></tr></thead>"
        f"<tbody>{steps}</tbody></table>"
    )


def _images(plan: NodePlan) -> str:
    rows = "".join(f"<li>{_text(name)} ({size(count)})</li>" for name, count in plan.handover)
    return f"<details><summary>Images to copy</summary><ul>{rows}</ul></details>" if rows else ""


def _step(step: PlannedStep) -> str:
    lines = "\n".join(_diff_line(text) for text in step.diff.splitlines())
    diff = f"<pre>{lines}</pre>" if step.diff else ""
    return (
        f"<tr><td><code>{_text(step.step)}</code></td><td>{_text(step.state)}</td>"
        f"<td>{_text(step.summary)}{diff}</td></tr>"
    )


def _diff_line(text: str) -> str:
    if text.startswith("+"):
        return f"<ins>{_text(text)}</ins>"
    return f"<del>{_text(text)}</del>" if text.startswith("-") else _text(text)
