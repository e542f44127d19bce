"""Findings as SARIF 2.1.0, for code scanning and editors.

Objects of a cluster have no file, so their location is `kubernetes/NAMESPACE/KIND/NAME`, besides
the logical location; findings in manifests have the file and line. What a migration would do is no
result of an analysis: it is among the properties of the run, as in the JSON.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import quote

from unshim.audit import RULES
from unshim.audit.finding import Finding, Severity
from unshim.audit.rule import Rule
from unshim.core.plan import Plans
from unshim.report.model import Meta
from unshim.report.structured import plan_document

_LEVELS = {Severity.BLOCKER: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_INDEXES = {rule.id: index for index, rule in enumerate(RULES)}


def render(findings: tuple[Finding, ...], plans: Plans, meta: Meta) -> str:
    driver = {
        "name": "unshim",
        "semanticVersion": meta.version,
        "rules": [_rule(rule) for rule in RULES],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "utf16CodeUnits",
        "invocations": [
            {"executionSuccessful": True, "endTimeUtc": meta.at.strftime("%Y-%m-%dT%H:%M:%SZ")}
        ],
        "results": [_result(finding) for finding in findings],
    }
    if plans:
        told = {node: plan_document(plan) for node, plan in sorted(plans.items())}
        run["properties"] = {"plans": told}
    document = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    }
    return json.dumps(document, indent=2) + "\n"


def _rule(rule: Rule) -> dict[str, Any]:
    described: dict[str, Any] = {
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": f"{rule.fix}\n{rule.link}"},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
    }
    if rule.link.startswith("https://"):
        described["helpUri"] = rule.link
    return described


def _result(finding: Finding) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": _INDEXES[finding.rule],
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{finding.subject}: {finding.message}\nFix: {finding.fix}"},
        "locations": [_location(finding)],
        "partialFingerprints": {"finding/v1": _fingerprint(finding)},
    }
    if finding.suppressed_by:
        result["suppressions"] = [{"kind": "external", "justification": finding.suppressed_by}]
    return result


def _location(finding: Finding) -> dict[str, Any]:
    subject = finding.subject
    path, _, number = finding.source.rpartition(":")
    parts = [part for part in (subject.namespace, subject.kind, subject.name) if part]
    uri = quote(path) if path else "/".join(["kubernetes", *(quote(p, safe="") for p in parts)])
    physical: dict[str, Any] = {"artifactLocation": {"uri": uri}}
    if path and number.isdigit():
        physical["region"] = {"startLine": max(int(number), 1)}
    name = {"fullyQualifiedName": str(subject), "kind": "resource", "name": subject.name}
    return {"physicalLocation": physical, "logicalLocations": [name]}


def _fingerprint(finding: Finding) -> str:
    identity = f"{finding.rule}\n{finding.subject}\n{finding.message}"
    return hashlib.sha256(identity.encode(errors="replace")).hexdigest()
