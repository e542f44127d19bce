"""A NodeMigration's body -> Options. Every field is checked here again: the schema of an old API
server, or a CRD that somebody edited, must not be able to let nonsense through.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unshim.core.options import DrainOptions, Options, VerifyOptions
from unshim.errors import InvalidSpec

GROUP = "unshim.dev"
VERSION = "v1alpha1"
PLURAL = "nodemigrations"
KIND = "NodeMigration"

FINISHED_PHASES = frozenset({"Succeeded", "RolledBack", "Failed", "Refused", "Audited"})

_NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_WORD = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_IGNORE = re.compile(r"[a-z0-9][^\x00-\x1f]{0,255}")  # RULE[:OBJECT][=REASON]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One NodeMigration as the engine uses it."""

    name: str
    uid: str
    generation: int
    options: Options
    roll_back: bool  # spec.rollback, or the object is being deleted
    status: Mapping[str, Any]


def parse(body: Mapping[str, Any]) -> Resource:
    """Raises InvalidSpec naming the field."""
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    wanted = options(spec)
    node = status.get("node") or wanted.node
    return Resource(
        name=metadata["name"],
        uid=metadata["uid"],
        generation=int(metadata.get("generation", 1)),
        options=dataclasses.replace(wanted, node=node),
        # spec.node cannot move: the run that was begun on the first node goes back
        roll_back=_boolean(spec, "spec", "rollback", default=False) or node != wanted.node,
        status=status,
    )


def options(spec: Mapping[str, Any]) -> Options:
    """The spec's choices with their defaults. Raises InvalidSpec naming the field."""
    dead_man = _integer(spec, "spec", "deadManSeconds", 180, 60, 3600)
    verify = _verify(_mapping(spec, "verify"))
    if verify.timeout_seconds > dead_man - 30:
        raise InvalidSpec(
            f"spec.verify.timeoutSeconds is {verify.timeout_seconds}, but the node takes itself "
            f"back after spec.deadManSeconds = {dead_man} s: it must be at most {dead_man - 30}. "
            "Nothing was changed."
        )
    return Options(
        node=_text(spec, "spec", "node", _NODE_NAME),
        dry_run=_boolean(spec, "spec", "dryRun", default=False),
        keep_docker=_boolean(spec, "spec", "keepDocker", default=False),
        dead_man_seconds=dead_man,
        playbook=_text(spec, "spec", "playbook", _WORD, "docker-to-containerd"),
        drain=_drain(_mapping(spec, "drain")),
        verify=verify,
        ignore_rules=_rules(_mapping(spec, "audit")),
    )


def _drain(spec: Mapping[str, Any]) -> DrainOptions:
    at = "spec.drain"
    grace = spec.get("gracePeriodSeconds")
    return DrainOptions(
        grace_period_seconds=None
        if grace is None or grace == -1
        else _integer(spec, at, "gracePeriodSeconds", 30, 0, 86_400),
        timeout_seconds=_integer(spec, at, "timeoutSeconds", 900, 1, 86_400),
        force=_boolean(spec, at, "force", default=False),
        delete_empty_dir_data=_boolean(spec, at, "deleteEmptyDirData", default=False),
        ignore_daemon_sets=_boolean(spec, at, "ignoreDaemonSets", default=True),
        pod_selector=_plain(spec, at, "podSelector"),
    )


def _verify(spec: Mapping[str, Any]) -> VerifyOptions:
    at = "spec.verify"
    return VerifyOptions(
        timeout_seconds=_integer(spec, at, "timeoutSeconds", 120, 10, 3570),
        readings=_integer(spec, at, "readings", 3, 1, 20),
        canary_image=_plain(spec, at, "canaryImage"),
    )


def _rules(spec: Mapping[str, Any]) -> tuple[str, ...]:
    rules = spec.get("ignore") or []
    if not isinstance(rules, list) or not all(
        isinstance(r, str) and _IGNORE.fullmatch(r) for r in rules
    ):
        raise _invalid("spec.audit.ignore", rules, "a list of rule ids")
    return tuple(rules)


def _mapping(spec: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = spec.get(field) or {}
    if not isinstance(value, Mapping):
        raise _invalid(f"spec.{field}", value, "an object")
    return value


def _integer(
    spec: Mapping[str, Any], at: str, field: str, default: int, low: int, high: int
) -> int:
    value = spec.get(field, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _invalid(f"{at}.{field}", value, f"a whole number from {low} to {high}")
    return value


def _boolean(spec: Mapping[str, Any], at: str, field: str, *, default: bool) -> bool:
    value = spec.get(field, default)
    if not isinstance(value, bool):
        raise _invalid(f"{at}.{field}", value, "true or false")
    return value


def _text(
    spec: Mapping[str, Any], at: str, field: str, pattern: re.Pattern[str], default: str = ""
) -> str:
    value = spec.get(field, default)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise _invalid(f"{at}.{field}", value, "a lower-case name of letters, digits, '-' and '.'")
    return value


def _plain(spec: Mapping[str, Any], at: str, field: str) -> str:
    value = spec.get(field, "")
    if not isinstance(value, str) or len(value) > 512 or any(ord(c) < 32 for c in value):
        raise _invalid(f"{at}.{field}", value, "one line of text")
    return value


def _invalid(field: str, value: object, expected: str) -> InvalidSpec:
    return InvalidSpec(
        f"{field} is {value!r}; expected {expected}. Nothing was changed on any node: "
        "correct the field and apply again."
    )
