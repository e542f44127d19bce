"""A playbook's YAML, already loaded to plain data -> Playbook. Strict: a typo is an error here."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from unshim.core.steps import FileStep, Playbook, ScriptStep, Stage, Step
from unshim.errors import InvalidPlaybook

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,62}")
_FILE_KEYS = {"name", "summary", "stage", "file"}
_SCRIPT_KEYS = {"name", "summary", "stage", "timeout", "script"}
_PARTS = {"check", "apply", "verify", "undo", "keep"}
API_VERSION = "unshim.dev/v1alpha1"


def parse(raw: object, edits: Collection[str]) -> Playbook:
    """Raises InvalidPlaybook naming the path, such as `steps[3].undo`."""
    top = _mapping(raw, "the playbook")
    _known(top, {"apiVersion", "kind", "name", "summary", "vars", "steps"}, "")
    for key, expected in (("apiVersion", API_VERSION), ("kind", "Playbook")):
        if top.get(key) != expected:
            raise InvalidPlaybook(f"{key} is {top.get(key)!r}; expected {expected!r}")
    rows = top.get("steps")
    if not isinstance(rows, list) or not rows:
        raise InvalidPlaybook("steps: expected a list of at least one step")
    steps = tuple(_step(row, f"steps[{i}]", edits) for i, row in enumerate(rows))
    _ordered(steps)
    return Playbook(
        name=_name(top.get("name"), "name"),
        summary=_text(top.get("summary"), "summary"),
        steps=steps,
        vars=_variables(top.get("vars") or {}),
    )


def _step(raw: object, at: str, edits: Collection[str]) -> Step:
    row = _mapping(raw, at)
    if ("file" in row) == ("script" in row):
        raise InvalidPlaybook(f"{at}: expected exactly one of 'file' and 'script'")
    return _file(row, at, edits) if "file" in row else _script(row, at)


def _file(row: Mapping[str, Any], at: str, edits: Collection[str]) -> FileStep:
    _known(row, _FILE_KEYS, at)
    body = _mapping(row["file"], f"{at}.file")
    _known(body, {"edit"}, f"{at}.file")
    edit = body.get("edit")
    if edit not in edits:
        known = ", ".join(sorted(edits))
        raise InvalidPlaybook(f"{at}.file.edit is {edit!r}; expected one of {known}")
    if row.get("stage", "switch") != "switch":
        raise InvalidPlaybook(f"{at}.stage: files are changed in the switch only")
    return FileStep(
        name=_name(row.get("name"), f"{at}.name"),
        summary=_text(row.get("summary"), f"{at}.summary"),
        edit=str(edit),
    )


def _script(row: Mapping[str, Any], at: str) -> ScriptStep:
    _known(row, _SCRIPT_KEYS, at)
    body = _mapping(row["script"], f"{at}.script")
    _known(body, _PARTS, f"{at}.script")
    parts = {key: _text(value, f"{at}.script.{key}") for key, value in body.items()}
    if "apply" not in parts:
        raise InvalidPlaybook(f"{at}.script.apply: missing")
    if ("undo" in parts) == ("keep" in parts):
        raise InvalidPlaybook(f"{at}.script: expected exactly one of 'undo' and 'keep'")
    return ScriptStep(
        name=_name(row.get("name"), f"{at}.name"),
        summary=_text(row.get("summary"), f"{at}.summary"),
        timeout=_seconds(row.get("timeout", 60), f"{at}.timeout"),
        stage=_stage(row.get("stage", "switch"), f"{at}.stage"),
        **parts,
    )


def _ordered(steps: Sequence[Step]) -> None:
    names: set[str] = set()
    for index, step in enumerate(steps):
        if step.name in names:
            raise InvalidPlaybook(f"steps[{index}].name: {step.name!r} stands twice")
        names.add(step.name)
        if index and step.stage is Stage.STAGE and steps[index - 1].stage is Stage.SWITCH:
            raise InvalidPlaybook(f"steps[{index}].stage: a stage step follows a switch step")


def _stage(value: object, at: str) -> Stage:
    if value not in ("stage", "switch"):
        raise InvalidPlaybook(f"{at} is {value!r}; expected 'stage' or 'switch'")
    return Stage(value)


def _seconds(value: object, at: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 3600:
        raise InvalidPlaybook(f"{at} is {value!r}; expected whole seconds from 1 to 3600")
    return value


def _variables(raw: object) -> Mapping[str, str]:
    found = _mapping(raw, "vars")
    for name, value in found.items():
        if not _VARIABLE.fullmatch(name) or not isinstance(value, str):
            raise InvalidPlaybook(f"vars.{name}: expected an UPPER_CASE name and a string")
    return dict(found)


def _known(row: Mapping[str, Any], keys: Collection[str], at: str) -> None:
    unknown = sorted(set(row) - set(keys))
    if unknown:
        raise InvalidPlaybook(f"{f'{at}.' if at else ''}{unknown[0]}: unknown key")


def _mapping(raw: object, at: str) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping) or not all(isinstance(key, str) for key in raw):
        raise InvalidPlaybook(f"{at}: expected a mapping")
    return raw


def _name(value: object, at: str) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise InvalidPlaybook(f"{at} is {value!r}; expected lower-case letters, digits and '-'")
    return value


def _text(value: object, at: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidPlaybook(f"{at}: expected text")
    return value
