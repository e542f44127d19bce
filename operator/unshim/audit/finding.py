"""What a rule says about an object. Findings are the audit's only output."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """BLOCKER: a run is refused. WARNING: look before you go. INFO: worth knowing."""

    BLOCKER = "blocker"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 is the gravest."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Subject:
    """An object, by kind, namespace (empty when it has none) and name."""

    kind: str
    namespace: str = ""
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that the move to containerd would break, or that a person should know.

    `chain` leads from an example pod up to the workload. `suppressed_by` holds the recorded reason
    when somebody has accepted the finding; a suppressed finding never blocks.
    """

    rule: str
    severity: Severity
    subject: Subject
    message: str
    title: str = ""
    nodes: tuple[str, ...] = ()
    chain: tuple[str, ...] = ()
    why: str = ""
    fix: str = ""
    link: str = ""
    source: str = ""  # "path:line" when it was read from a file
    suppressed_by: str = ""

    @property
    def blocks(self) -> bool:
        return self.severity is Severity.BLOCKER and not self.suppressed_by

    @property
    def node(self) -> str:
        """The nodes it concerns, for people."""
        return ", ".join(self.nodes)

    def as_status(self) -> dict[str, str]:
        """The short form that a status and a progress report carry."""
        short = {
            "rule": self.rule,
            "severity": self.severity.value,
            "subject": str(self.subject),
            "message": self.message,
            "fix": self.fix,
        }
        return short | ({"suppressedBy": self.suppressed_by} if self.suppressed_by else {})


def counts(findings: tuple[Finding, ...]) -> dict[str, int]:
    """How many findings of each severity count, and how many are suppressed."""
    found = {severity.value: 0 for severity in Severity} | {"suppressed": 0}
    for finding in findings:
        found["suppressed" if finding.suppressed_by else finding.severity.value] += 1
    return found
