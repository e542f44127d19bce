"""Writes TOML, which the standard library only reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any


def dumps(document: Mapping[str, Any]) -> str:
    """TOML text that `tomllib.loads` reads back as `document`.

    Raises TypeError for values that containerd's configuration never holds (dates).
    """
    return "\n".join(_table((), document)).lstrip("\n") + "\n"


def _table(path: tuple[str, ...], table: Mapping[str, Any]) -> Iterator[str]:
    scalars = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    tables = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    if path and (scalars or not tables):
        yield f"\n[{'.'.join(_key(part) for part in path)}]"
    for key, value in scalars.items():
        yield f"{_key(key)} = {_value(value)}"
    for key, value in tables.items():
        yield from _table((*path, key), value)


def _key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else _string(text)


def _string(text: str) -> str:
    # JSON's escapes are TOML's, but for the character 0x7f.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return _string(value)
        case list() | tuple():
            return f"[{', '.join(_value(item) for item in value)}]"
        case Mapping():
            pairs = (f"{_key(key)} = {_value(item)}" for key, item in value.items())
            return f"{{{', '.join(pairs)}}}"
    raise TypeError(f"no TOML for {type(value).__name__}")
