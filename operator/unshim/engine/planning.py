"""What a run would do to this node: file changes with diffs, and each script's check."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

from unshim.audit.snapshot import Snapshot
from unshim.audit.survey import survey
from unshim.core import edits
from unshim.core.facts import NodeFacts
from unshim.core.options import Options
from unshim.core.plan import NodePlan, PlannedStep
from unshim.core.steps import FileChange, FileStep, Playbook, ScriptStep
from unshim.engine import canaries
from unshim.engine.tools import Tools
from unshim.errors import StepFailed, UnsupportedNode
from unshim.ports import Machine
from unshim.report.planned import node_plan

_PASSWORD = re.compile(r"://[^\s/@\"']+@")  # proxies may carry user and password
CANNOT_TELL = 2  # exit code of a check that is neither yes nor no

Changes = Mapping[str, tuple[FileChange, ...]]


def changes(playbook: Playbook, facts: NodeFacts, options: Options) -> Changes:
    """Every file step's changes. Raises UnsupportedNode."""
    files = [step for step in playbook.steps if isinstance(step, FileStep)]
    return {step.name: edits.EDITS[step.edit](facts, options) for step in files}


def plan(tools: Tools, playbook: Playbook, machine: Machine, before: Snapshot) -> NodePlan | None:
    """What a run would do to the snapshot's one target. Reads only; raises NodeUnreachable.

    None where no run could begin: the node does not run Docker, or an edit refuses it. Findings
    say so.
    """
    (node,) = survey(before).nodes
    facts, options = node.facts, before.options
    if facts is None or options is None or not node.on_docker:
        return None
    try:
        wanted = changes(playbook, facts, options)
        served = canaries.served(tools, options, node.pods)
        variables = edits.variables(facts, options, served)
    except UnsupportedNode:
        return None
    codes = _checks(playbook, machine, variables)
    steps = (
        _file_step(step, wanted[step.name])
        if isinstance(step, FileStep)
        else _script_step(step, codes.get(step.name))
        for step in playbook.steps
    )
    return node_plan(tuple(steps), node, facts)


def _checks(
    playbook: Playbook, machine: Machine, variables: Mapping[str, str]
) -> Mapping[str, int]:
    """Exit codes by step; where the node cannot run the checks, none of them can tell."""
    scripts = [step for step in playbook.steps if isinstance(step, ScriptStep)]
    try:
        return machine.checks(scripts, variables)
    except StepFailed:
        return {step.name: CANNOT_TELL for step in scripts if step.check}


def _file_step(step: FileStep, wanted: Sequence[FileChange]) -> PlannedStep:
    diff = "".join(difference(change) for change in wanted)
    state = "would apply" if wanted else "already so"
    return PlannedStep(step=step.name, summary=step.summary, state=state, diff=diff)


def _script_step(step: ScriptStep, code: int | None) -> PlannedStep:
    state = {0: "already so", 1: "would apply", None: "would apply"}.get(code, "cannot tell")
    return PlannedStep(step=step.name, summary=step.summary, state=state)


def difference(change: FileChange) -> str:
    """A unified diff of one file, as a person reviews it."""
    before = (change.before or "").splitlines(keepends=True)
    after = (change.after or "").splitlines(keepends=True)
    source = change.path if change.before is not None else "/dev/null"
    target = change.path if change.after is not None else "/dev/null"
    text = "".join(
        line if line.endswith("\n") else line + "\n"
        for line in difflib.unified_diff(before, after, source, target)
    )
    return _PASSWORD.sub("://***@", text)
