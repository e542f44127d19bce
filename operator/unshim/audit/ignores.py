"""Findings that a person has accepted, with the reason that is kept in every report.

Written `RULE`, `RULE:NAME`, `RULE:NAMESPACE/NAME` or `RULE:KIND/NAMESPACE/NAME`, each with an
optional `=REASON`; `*` stands for any text within a part. The object that the finding
names, such as a Deployment but not its template, may carry the annotation
`ignore.unshim.dev/RULE: reason` instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from unshim.audit.finding import Finding, Subject
from unshim.errors import InvalidSpec

ANNOTATION_PREFIX = "ignore.unshim.dev/"
NO_REASON = "ignored; no reason was given"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignore:
    """One accepted rule, for every object or for those that `subject` matches."""

    rule: str
    subject: str = ""
    reason: str = NO_REASON

    def covers(self, finding: Finding) -> bool:
        return finding.rule == self.rule and (
            not self.subject or any(fnmatchcase(n, self.subject) for n in _names(finding.subject))
        )


def _names(subject: Subject) -> tuple[str, ...]:
    short = "/".join(part for part in (subject.namespace, subject.name) if part)
    return (short, str(subject))


def parse(text: str, rules: Iterable[str]) -> Ignore:
    """Raises InvalidSpec when there is no such rule."""
    target, _, reason = text.partition("=")
    rule, _, subject = target.strip().partition(":")
    if rule not in set(rules):
        raise InvalidSpec(f"{text!r} ignores a rule that does not exist. docs/rules.md lists all.")
    return Ignore(rule=rule, subject=subject.strip(), reason=reason.strip() or NO_REASON)
