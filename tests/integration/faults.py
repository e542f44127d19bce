"""Copies of the shipped playbook with one deliberate fault each, for the operator to be given."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

SHIPPED = Path(__file__).resolve().parents[2] / "playbooks" / "docker-to-containerd.yaml"
PAUSE_SECONDS = 40


def shipped() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(SHIPPED.read_text())
    return found


def steps(*stages: str) -> list[str]:
    """Names of the shipped steps of these stages, in order."""
    return [step["name"] for step in shipped()["steps"] if step.get("stage", "switch") in stages]


def write_all(folder: Path) -> Path:
    """The shipped playbook, `fail-STEP` and `pause-STEP`."""
    _write(folder, shipped())
    for name in steps("stage", "switch"):
        _write(folder, failing(name))
    for name in steps("switch"):
        _write(folder, pausing(name))
    return folder


def failing(name: str) -> dict[str, Any]:
    """The step does its work and then says that it failed."""
    book, index = _copy(f"fail-{name}", name)
    step = book["steps"][index]
    if "file" in step:
        extra = _script(f"break-{name}", "Fail right after the files are in place", "exit 1")
        book["steps"].insert(index + 1, extra)
        return book
    step["script"]["apply"] += "\necho broken on purpose >&2\nexit 1\n"
    step["script"].pop("check", None)
    return book


def pausing(name: str) -> dict[str, Any]:
    """After the step nothing moves for a while: time to pull the plug."""
    book, index = _copy(f"pause-{name}", name)
    pause = _script("pause", "Give the test time to pull the plug", f"sleep {PAUSE_SECONDS}")
    book["steps"].insert(index + 1, pause)
    return book


def _copy(title: str, name: str) -> tuple[dict[str, Any], int]:
    book = copy.deepcopy(shipped())
    book["name"] = title
    return book, [step["name"] for step in book["steps"]].index(name)


def _script(name: str, summary: str, apply: str) -> dict[str, Any]:
    return {"name": name, "summary": summary, "script": {"apply": apply, "keep": "No effect."}}


def _write(folder: Path, book: dict[str, Any]) -> None:
    (folder / f"{book['name']}.yaml").write_text(yaml.safe_dump(book, sort_keys=False))
