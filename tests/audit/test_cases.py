"""Every rule, by cases: a snapshot laid over an ordinary node, and all that is said of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.audit import loading
from unshim.audit import RULES, Severity, audit
from unshim.audit.finding import Finding

#: Cases change what the kubelet runs with and not the files that say so, which this rule minds.
ASIDE = "edit-refused"
CASES = sorted((loading.HERE / "cases").glob("*/*.json"))


def shown(finding: Finding) -> tuple[str, str, str]:
    word = "suppressed" if finding.suppressed_by else finding.severity.value
    return word, finding.rule, str(finding.subject)


@pytest.mark.parametrize("path", CASES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_case(path: Path) -> None:
    """The audit says what the case says, and of blockers and warnings nothing else."""
    case: dict[str, Any] = json.loads(path.read_text())
    rule = path.parent.name
    found = [
        finding
        for finding in audit(loading.snapshot(case["snapshot"]))
        if finding.rule == rule or (finding.severity is not Severity.INFO and finding.rule != ASIDE)
    ]
    expected = [(f["severity"], f["rule"], f["subject"]) for f in case["findings"]]
    assert sorted({shown(f) for f in found}) == sorted(set(expected)), [f.message for f in found]
    for wanted in case["findings"]:
        told = " ".join(
            f.message for f in found if shown(f)[1:] == (wanted["rule"], wanted["subject"])
        )
        assert wanted.get("says", "") in told


def test_there_are_enough_cases() -> None:
    """At least 120 cases, and at least 40 near misses among them."""
    assert len(CASES) >= 120
    assert sum(path.stem.startswith("near-miss") for path in CASES) >= 40


def test_every_rule_has_a_case() -> None:
    """No rule is without a case in a folder of its name, and no folder is without a rule."""
    assert {path.parent.name for path in CASES} == {rule.id for rule in RULES}
