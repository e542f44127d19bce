"""Findings and plans as JSON and YAML, with the same content. Fields are only ever added."""

from __future__ import annotations

import json
from typing import Any

from unshim.audit.finding import Finding, counts
from unshim.core.plan import NodePlan, Plans
from unshim.report import yaml_text
from unshim.report.model import Meta

SCHEMA = "unshim.dev/audit/v1alpha1"


def render_json(findings: tuple[Finding, ...], plans: Plans, meta: Meta) -> str:
    return json.dumps(document(findings, plans, meta), indent=2, ensure_ascii=False) + "\n"


def render_yaml(findings: tuple[Finding, ...], plans: Plans, meta: Meta) -> str:
    return yaml_text.dump(document(findings, plans, meta))


def document(findings: tuple[Finding, ...], plans: Plans, meta: Meta) -> dict[str, Any]:
    """The report as plain data."""
    return {
        "schema": SCHEMA,
        "at": meta.at.isoformat(),
        "version": meta.version,
        "scope": meta.scope,
        "nodes": meta.nodes,
        "workloads": meta.workloads,
        "notes": list(meta.notes),
        "counts": counts(findings),
        "blocked": any(finding.blocks for finding in findings),
        "findings": [_finding(finding) for finding in findings],
        "plans": {node: plan_document(plan) for node, plan in sorted(plans.items())},
    }


def _finding(finding: Finding) -> dict[str, Any]:
    subject = finding.subject
    return {
        "rule": finding.rule,
        "severity": finding.severity.value,
        "kind": subject.kind,
        "namespace": subject.namespace,
        "name": subject.name,
        "nodes": list(finding.nodes),
        "chain": list(finding.chain),
        "title": finding.title,
        "message": finding.message,
        "why": finding.why,
        "fix": finding.fix,
        "link": finding.link,
        "source": finding.source,
        "suppressedBy": finding.suppressed_by,
    }


def plan_document(plan: NodePlan) -> dict[str, Any]:
    """A node's plan as plain data."""
    down = list(plan.down_seconds) if plan.down_seconds is not None else None
    steps = [
        {"step": s.step, "summary": s.summary, "state": s.state, "diff": s.diff} for s in plan.steps
    ]
    return {
        "steps": steps,
        "images": len(plan.handover),
        "handover": [{"image": name, "bytes": count} for name, count in plan.handover],
        "imageBytes": plan.image_bytes,
        "downSeconds": down,
    }
