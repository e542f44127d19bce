"""Label selectors, in both spellings of the API: kubectl's text and the LabelSelector object."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from unshim.errors import InvalidSpec

_KEY = r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?"
_SET = re.compile(rf"(?P<key>{_KEY})\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUAL = re.compile(rf"(?P<key>{_KEY})\s*(?P<op>==|=|!=)\s*(?P<value>[-A-Za-z0-9_.]*)")
_EXISTS = re.compile(rf"(?P<op>!?)\s*(?P<key>{_KEY})")
_COMMA = re.compile(r",(?![^()]*\))")

Labels = Mapping[str, str]


def parse(text: str) -> Mapping[str, Any]:
    """kubectl's `-l` text as a LabelSelector's matchExpressions. Raises InvalidSpec."""
    parts = [part.strip() for part in _COMMA.split(text)] if text.strip() else []
    return {"matchExpressions": [_requirement(part, text) for part in parts]}


def _requirement(part: str, text: str) -> dict[str, Any]:
    if found := _SET.fullmatch(part):
        values = [value.strip() for value in found["values"].split(",")]
        return _expression(found["key"], "In" if found["op"] == "in" else "NotIn", values)
    if found := _EQUAL.fullmatch(part):
        return _expression(found["key"], "NotIn" if found["op"] == "!=" else "In", [found["value"]])
    if found := _EXISTS.fullmatch(part):
        return _expression(found["key"], "DoesNotExist" if found["op"] else "Exists", [])
    raise InvalidSpec(
        f"spec.drain.podSelector is {text!r}: {part!r} is not a requirement such as app=web, "
        "app!=web, app in (web, api), app or !app. Nothing was evicted."
    )


def _expression(key: str, operator: str, values: Sequence[str]) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


def matches(selector: Mapping[str, Any], labels: Labels) -> bool:
    """Whether a LabelSelector object selects these labels; an empty one selects everything."""
    equal = (selector.get("matchLabels") or {}).items()
    return all(labels.get(key) == value for key, value in equal) and all(
        _holds(requirement, labels) for requirement in selector.get("matchExpressions") or ()
    )


def _holds(requirement: Mapping[str, Any], labels: Labels) -> bool:
    key, values = requirement.get("key", ""), requirement.get("values") or ()
    match requirement.get("operator"):
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return key not in labels or labels[key] not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return False
