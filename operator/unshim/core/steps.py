"""The nouns: a playbook is an ordered list of steps, each one reversible change to a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """When a step runs: while the node still serves, or inside the transaction."""

    STAGE = "stage"
    SWITCH = "switch"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStep:
    """Files are changed by a named pure edit; check, apply and undo follow from its result.

    `edit` names an entry of `unshim.core.edits.EDITS`.
    """

    name: str
    summary: str
    edit: str
    stage: Stage = Stage.SWITCH


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptStep:
    """POSIX sh that drives services, packages or images; never files under /etc.

    Exit codes: `check` 0 = already so, 1 = not so, anything else = cannot tell, and the step fails.
    `apply`, `verify`, `undo`: 0 or failed. Exactly one of `undo` and `keep` is set; `keep` is the
    reason why leaving the change behind is safe.
    """

    name: str
    summary: str
    apply: str
    check: str = ""
    verify: str = ""
    undo: str = ""
    keep: str = ""
    timeout: int = 60  # seconds, for each script
    stage: Stage = Stage.SWITCH


Step = FileStep | ScriptStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Playbook:
    """A node's steps, in order: every stage step stands before every switch step."""

    name: str
    summary: str
    steps: tuple[Step, ...]
    vars: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """What an edit wants of one file. `after` None means that the file must not exist.

    `before` is the text the edit saw (None: absent); the node refuses to go on when the file has
    changed since. `mode` is used for new files only; a changed file keeps mode and owner.
    """

    path: str
    before: str | None
    after: str | None
    mode: int = 0o644
