"""docs/rules.md and the table of agents, made from the rules themselves."""

from __future__ import annotations

from collections.abc import Sequence

from unshim.audit.agent_table import AGENTS
from unshim.audit.rule import Rule

_SCOPES = {
    "node": "each node that runs Docker",
    "workload": "each workload: a controller's template, or the pods of one owner",
    "survey": "the cluster's objects",
}
_INTRO = """\
# Audit rules

Made from the rules in `operator/unshim/audit/rules`; do not edit. The audit and the preflight of
every migration run the same rules.

A **blocker** refuses a run, a **warning** wants a look, an **info** is worth knowing. Severities
below are the usual ones: a rule may be milder or graver on what it sees.

Ignore a finding with `--ignore RULE[:OBJECT]=REASON`, with `spec.audit.ignore` of a NodeMigration,
or with the annotation `ignore.unshim.dev/RULE: reason` on the object that the
finding names: the Deployment's own metadata, not its template's. The reason stays in every report.
Rules marked *firm* cannot be ignored.
"""


def rules_page(rules: Sequence[Rule]) -> str:
    """The whole of docs/rules.md."""
    index = ["| rule | severity | what |", "|---|---|---|", *(_index(rule) for rule in rules)]
    return "\n".join([_INTRO, *index, "", *("\n".join(_section(rule)) for rule in rules)])


def _index(rule: Rule) -> str:
    return f"| [{rule.id}](#{rule.id}) | {rule.severity.value} | {rule.title} |"


def _section(rule: Rule) -> list[str]:
    firm = ", firm" if rule.firm else ""
    lines = [
        f"## {rule.id}",
        "",
        f"{rule.title}. *{rule.severity.value}{firm}; looks at {_SCOPES[rule.scope]}.*",
        "",
        f"**Why.** {rule.why}",
        "",
        f"**Fix.** {rule.fix}",
        "",
    ]
    return lines + ([f"See <{rule.link}>.", ""] if rule.link.startswith("https://") else [])


def agents_table() -> str:
    """Known agents as Markdown."""
    head = ["| agent | without Docker | what to do |", "|---|---|---|"]
    rows = [
        f"| {agent.name} | {_support(agent.since, agent.docker_only)} | {agent.advice} |"
        for agent in sorted(AGENTS, key=lambda agent: agent.name.lower())
    ]
    return "\n".join(head + rows)


def _support(since: str, docker_only: bool) -> str:
    if docker_only:
        return "no use"
    return f"from {since}" if since else "once set up"
