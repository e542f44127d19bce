"""What a rule is, and how rules are run over a survey.

A rule is a generator of `Hit`s decorated with `@node_rule`, `@workload_rule` or `@survey_rule`.
It sees one node that runs Docker, one workload, or everything. The texts say what breaks, why, and
how to mend it; docs/rules.md is generated from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from unshim.audit.finding import Finding, Severity, Subject
from unshim.audit.survey import NodeView, Survey
from unshim.audit.workloads import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """What one rule says once. Empty fields are filled from the rule and the thing it looked at."""

    message: str
    severity: Severity | None = None
    fix: str = ""
    subject: Subject | None = None
    nodes: tuple[str, ...] = ()
    chain: tuple[str, ...] = ()
    source: str = ""


Check = Callable[..., Iterator[Hit]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`firm` rules cannot be ignored: acting against them would break a promise of ours.

    `any_node` rules also look at target nodes that do not run Docker.
    """

    id: str
    severity: Severity
    title: str
    why: str
    fix: str
    link: str
    scope: str  # "node", "workload" or "survey"
    check: Check
    firm: bool = False
    any_node: bool = False

    def findings(self, survey: Survey) -> Iterator[Finding]:
        match self.scope:
            case "node":
                yield from self._on_nodes(survey)
            case "workload":
                yield from self._on_workloads(survey)
            case _:
                yield from (self._finding(hit, hit.subject) for hit in self.check(survey))

    def _on_nodes(self, survey: Survey) -> Iterator[Finding]:
        for node in survey.nodes:
            if node.on_docker or self.any_node:
                for hit in self.check(node, survey):
                    subject = hit.subject or Subject(kind="Node", name=node.name)
                    yield self._finding(hit, subject, nodes=(node.name,))

    def _on_workloads(self, survey: Survey) -> Iterator[Finding]:
        for workload in survey.workloads:
            for hit in self.check(workload, survey):
                yield self._finding(
                    hit,
                    hit.subject or workload.subject,
                    workload=workload,
                    severity=self._milder(hit, workload, survey),
                )

    def _milder(self, hit: Hit, workload: Workload, survey: Survey) -> Severity | None:
        """What runs on no target cannot refuse a run there; a pod of it would."""
        blocks = (hit.severity or self.severity) is Severity.BLOCKER
        if survey.snapshot.options is None or not blocks:
            return None
        here = any(node.name in workload.nodes for node in survey.nodes)
        return None if here else Severity.WARNING

    def _finding(
        self,
        hit: Hit,
        subject: Subject | None,
        *,
        nodes: tuple[str, ...] = (),
        workload: Workload | None = None,
        severity: Severity | None = None,
    ) -> Finding:
        assert subject is not None  # noqa: S101  a rule over the whole survey names its subject
        return Finding(
            rule=self.id,
            severity=severity or hit.severity or self.severity,
            subject=subject,
            message=hit.message,
            title=self.title,
            nodes=hit.nodes or (workload.nodes if workload else nodes),
            chain=hit.chain or (workload.chain if workload else ()),
            why=self.why,
            fix=hit.fix or self.fix,
            link=self.link,
            source=hit.source or (workload.source if workload else ""),
        )


def _decorator(scope: str, rule_id: str, severity: Severity, texts: Any) -> Callable[[Check], Rule]:
    def decorate(check: Check) -> Rule:
        link = texts.pop("link", "") or f"docs/rules.md#{rule_id}"
        return Rule(id=rule_id, severity=severity, link=link, scope=scope, check=check, **texts)

    return decorate


def node_rule(rule_id: str, severity: Severity, **texts: Any) -> Callable[[Check], Rule]:
    """A rule over each target node; `texts` are title, why, fix, link, firm and any_node."""
    return _decorator("node", rule_id, severity, texts)


def workload_rule(rule_id: str, severity: Severity, **texts: Any) -> Callable[[Check], Rule]:
    """A rule over each workload: a controller's template, or the pods of one owner."""
    return _decorator("workload", rule_id, severity, texts)


def survey_rule(rule_id: str, severity: Severity, **texts: Any) -> Callable[[Check], Rule]:
    """A rule over everything at once."""
    return _decorator("survey", rule_id, severity, texts)


__all__ = ["Hit", "NodeView", "Rule", "Survey", "node_rule", "survey_rule", "workload_rule"]
