"""Playbooks are read strictly: whatever is wrong is refused, by the name of its place."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from unshim.core import recipe
from unshim.core.steps import FileStep, ScriptStep, Stage
from unshim.errors import InvalidPlaybook

EDITS = {"flags", "unit"}
Raw = dict[str, Any]
GOOD: Raw = {
    "apiVersion": "unshim.dev/v1alpha1",
    "kind": "Playbook",
    "name": "move",
    "summary": "Move a node",
    "vars": {"COLOUR": "blue"},
    "steps": [
        {
            "name": "fetch", "summary": "Fetch", "stage": "stage", "timeout": 900,
            "script": {"apply": "get", "check": "have", "keep": "inert"},
        },
        {"name": "flags", "summary": "Flags", "file": {"edit": "flags"}},
        {
            "name": "start", "summary": "Start",
            "script": {"apply": "go", "verify": "runs", "undo": "stop"},
        },
    ],
}  # fmt: skip


def test_a_good_playbook_is_read_whole() -> None:
    """Every field arrives; switch and 60 s are the defaults."""
    found = recipe.parse(GOOD, EDITS)
    assert (found.name, found.summary, found.vars) == ("move", "Move a node", {"COLOUR": "blue"})
    fetch, flags, start = found.steps
    assert fetch == ScriptStep(
        name="fetch", summary="Fetch", stage=Stage.STAGE, timeout=900,
        apply="get", check="have", keep="inert",
    )  # fmt: skip
    assert flags == FileStep(name="flags", summary="Flags", edit="flags")
    assert isinstance(start, ScriptStep)
    assert (start.stage, start.timeout, start.undo) == (Stage.SWITCH, 60, "stop")


def _set(path: str, value: object) -> Callable[[Raw], None]:
    def change(raw: Raw) -> None:
        *parents, last = [int(key) if key.isdigit() else key for key in path.split("/")]
        place: Any = raw
        for key in parents:
            place = place[key]
        if value is KeyError:
            del place[last]
        else:
            place[last] = value

    return change


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("apiVersion", "unshim.dev/v2", "apiVersion is 'unshim.dev/v2'"),
        ("kind", "Play", "kind is 'Play'"),
        ("name", "Move It", "name is 'Move It'"),
        ("summary", "", "summary: expected text"),
        ("extra", 1, "extra: unknown key"),
        ("steps", [], "steps: expected a list"),
        ("steps", "all", "steps: expected a list"),
        ("steps/1", "flags", r"steps\[1\]: expected a mapping"),
        ("steps/1/undo", "x", r"steps\[1\].undo: unknown key"),
        ("steps/1/file/path", "/etc", r"steps\[1\].file.path: unknown key"),
        ("steps/1/file/edit", "nope", r"steps\[1\].file.edit is 'nope'; expected one of flags"),
        ("steps/1/stage", "stage", r"steps\[1\].stage: files are changed in the switch only"),
        ("steps/1/script", {}, r"steps\[1\]: expected exactly one of 'file' and 'script'"),
        ("steps/2/script", KeyError, r"steps\[2\]: expected exactly one of 'file' and 'script'"),
        ("steps/2/script/apply", KeyError, r"steps\[2\].script.apply: missing"),
        ("steps/2/script/undo", KeyError, r"steps\[2\].script: expected exactly one of 'undo'"),
        ("steps/2/script/keep", "also", r"steps\[2\].script: expected exactly one of 'undo'"),
        ("steps/2/script/undo", "", r"steps\[2\].script.undo: expected text"),
        ("steps/2/script/undo", ["a"], r"steps\[2\].script.undo: expected text"),
        ("steps/2/script/unod", "x", r"steps\[2\].script.unod: unknown key"),
        ("steps/2/timeout", 0, r"steps\[2\].timeout is 0; expected whole seconds"),
        ("steps/2/timeout", True, r"steps\[2\].timeout is True"),
        ("steps/2/timeout", "60", r"steps\[2\].timeout is '60'"),
        ("steps/2/timeout", 3601, r"steps\[2\].timeout is 3601"),
        ("steps/2/stage", "stage", r"steps\[2\].stage: a stage step follows a switch step"),
        ("steps/2/stage", "later", r"steps\[2\].stage is 'later'"),
        ("steps/2/name", "flags", r"steps\[2\].name: 'flags' stands twice"),
        ("steps/2/name", "a/b", r"steps\[2\].name is 'a/b'"),
        ("steps/2/name", "../x", r"steps\[2\].name is '../x'"),
        ("steps/2/name", 5, r"steps\[2\].name is 5"),
        ("vars", {"lower": "x"}, "vars.lower: expected an UPPER_CASE name"),
        ("vars", {"PORT": 5}, "vars.PORT: expected an UPPER_CASE name and a string"),
        ("vars", {5: "x"}, "vars: expected a mapping"),
    ],
)
def test_what_is_wrong_is_refused_by_its_place(path: str, value: object, said: str) -> None:
    """A typo in a playbook is an error with a path, never a step that does less."""
    raw = copy.deepcopy(GOOD)
    _set(path, value)(raw)
    with pytest.raises(InvalidPlaybook, match=said):
        recipe.parse(raw, EDITS)


@pytest.mark.parametrize("raw", [None, [], "text", 5])
def test_nonsense_is_refused(raw: object) -> None:
    """An empty or wrong file is an error, too."""
    with pytest.raises(InvalidPlaybook, match="the playbook: expected a mapping"):
        recipe.parse(raw, EDITS)
