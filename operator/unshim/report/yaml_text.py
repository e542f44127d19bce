"""Plain data as YAML in block style. Every string is quoted, so none can mean something else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

#: JSON leaves these as they are, YAML wants them escaped.
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
_PLAIN_KEY = re.compile(r"[A-Za-z][A-Za-z]*")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def dump(value: Mapping[str, Any]) -> str:
    """A document that every YAML 1.1 and 1.2 parser reads as `value`."""
    return "\n".join(_block(value, 0)) + "\n"


def _block(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _entry(f"{'  ' * depth}{_key(key)}:", item, depth + 1)
    else:
        for item in value:
            lines = list(_block(item, depth + 1)) if _nested(item) else []
            first = lines[0].lstrip() if lines else _scalar(item)
            yield f"{'  ' * depth}- {first}"
            yield from lines[1:]


def _entry(head: str, item: Any, depth: int) -> Iterator[str]:
    if _nested(item):
        yield head
        yield from _block(item, depth)
    else:
        yield f"{head} {_scalar(item)}"


def _nested(item: Any) -> bool:
    return bool(item) and isinstance(item, Mapping | Sequence) and not isinstance(item, str)


def _scalar(item: Any) -> str:
    """A quoted string, a number, a truth value, null, or an empty collection."""
    text = json.dumps(item, ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _key(key: str) -> str:
    plain = _PLAIN_KEY.fullmatch(key) and key.lower() not in _WORDS
    return key if plain else _scalar(key)
