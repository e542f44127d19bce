"""Findings as JUnit XML: one suite per rule, one test case per object. Blockers are failures.

What a migration would do is the output of the suite `plan`, one test case per node.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from unshim.audit import RULES
from unshim.audit.finding import Finding, Severity
from unshim.core.plan import Plans
from unshim.report import table
from unshim.report.model import Meta, clean


def render(findings: tuple[Finding, ...], plans: Plans, meta: Meta) -> str:
    """Rules without findings have one test case that passed."""
    by_rule: dict[str, list[Finding]] = {rule.id: [] for rule in RULES}
    for finding in findings:
        by_rule.setdefault(finding.rule, []).append(finding)
    failed = sum(finding.blocks for finding in findings)
    tests = sum(max(len(found), 1) for found in by_rule.values()) + len(plans)
    stamp = _attribute(meta.at.isoformat(timespec="seconds"))
    suites = [_suite(rule, found, stamp) for rule, found in by_rule.items()]
    suites += [_planned(plans, stamp)] if plans else []
    head = f'<testsuites name="unshim audit" tests="{tests}" failures="{failed}">'
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', head, *suites, "</testsuites>", ""])


def _suite(rule: str, found: Sequence[Finding], stamp: str) -> str:
    failed = sum(finding.blocks for finding in found)
    skipped = sum(bool(finding.suppressed_by) for finding in found)
    cases = [_case(finding) for finding in found] or [_passed(rule)]
    return _joined(rule, cases, stamp, failed, skipped)


def _planned(plans: Plans, stamp: str) -> str:
    cases = [
        f'    <testcase classname="plan" name={_attribute(node)}>'
        f"<system-out>{escape(clean(table.plan_parts({node: plan})[0]))}</system-out></testcase>"
        for node, plan in sorted(plans.items())
    ]
    return _joined("plan", cases, stamp)


def _joined(name: str, cases: Sequence[str], stamp: str, failed: int = 0, skipped: int = 0) -> str:
    head = (
        f'  <testsuite name={_attribute(name)} tests="{len(cases)}" failures="{failed}" '
        f'errors="0" skipped="{skipped}" timestamp={stamp}>'
    )
    return "\n".join([head, *cases, "  </testsuite>"])


def _passed(rule: str) -> str:
    return f'    <testcase classname={_attribute(rule)} name="nothing found"/>'


def _case(finding: Finding) -> str:
    name = f"{finding.subject}: {finding.message}"
    head = f"    <testcase classname={_attribute(finding.rule)} name={_attribute(name)}>"
    return f"{head}{_outcome(finding)}</testcase>"


def _outcome(finding: Finding) -> str:
    message = _attribute(f"{finding.title}: {finding.message}")
    body = escape(clean(f"{finding.why}\nFix: {finding.fix}\n{finding.link}"))
    if finding.suppressed_by:
        return f"<skipped message={_attribute(finding.suppressed_by)}/>"
    if finding.severity is Severity.BLOCKER:
        return f'<failure type="blocker" message={message}>{body}</failure>'
    return f"<system-out>{finding.severity.value}: {body}</system-out>"


def _attribute(text: str) -> str:
    return quoteattr(clean(text))
