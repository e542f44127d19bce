"""What a run would do to this node: file changes with diffs, and each script's check."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

from unshim.core import edits
from unshim.core.facts import NodeFacts
from unshim.core.objects import Manifest
from unshim.core.options import Options
from unshim.core.steps import FileChange, FileStep, Playbook, ScriptStep
from unshim.engine.session import Session
from unshim.ports import Machine

_PASSWORD = re.compile(r"://[^\s/@\"']+@")  # proxies may carry user and password
MAX_DIFF = 4000  # characters of one file's diff in a status

Changes = Mapping[str, tuple[FileChange, ...]]


def changes(playbook: Playbook, facts: NodeFacts, options: Options) -> Changes:
    """Every file step's changes. Raises UnsupportedNode."""
    files = [step for step in playbook.steps if isinstance(step, FileStep)]
    return {step.name: edits.EDITS[step.edit](facts, options) for step in files}


def preview(
    playbook: Playbook,
    session: Session,
    facts: NodeFacts,
    machine: Machine,
    pods: Sequence[Manifest],
) -> tuple[Mapping[str, str], ...]:
    """One entry for each step, in order: its state, and the diff for files."""
    scripts = [step for step in playbook.steps if isinstance(step, ScriptStep)]
    codes = machine.checks(scripts, edits.variables(facts, session.options, pods))
    return tuple(
        _file_entry(step, session.changes[step.name])
        if isinstance(step, FileStep)
        else _script_entry(step, codes.get(step.name))
        for step in playbook.steps
    )


def _file_entry(step: FileStep, wanted: Sequence[FileChange]) -> Mapping[str, str]:
    state = "would apply" if wanted else "already so"
    diff = "".join(difference(change) for change in wanted)
    return {"step": step.name, "summary": step.summary, "state": state, "diff": diff[:MAX_DIFF]}


def _script_entry(step: ScriptStep, code: int | None) -> Mapping[str, str]:
    state = {0: "already so", 1: "would apply", None: "would apply"}.get(code, "cannot tell")
    return {"step": step.name, "summary": step.summary, "state": state, "diff": ""}


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
