"""The output of node/facts.sh, taken apart: `KEY<TAB>BASE64` lines, `error:` keys, a last `end`."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field

LIMIT = 4 << 20  # bytes of one section, as in facts.sh
CUT = "longer than 4 MiB; only its beginning was read"


@dataclass(slots=True)
class Sections:
    """Sections by key, and everything that went wrong with them so far."""

    texts: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def text(self, key: str) -> str:
        return self.texts.get(key, "")

    def line(self, key: str) -> str:
        return self.text(key).strip()

    def lines(self, key: str) -> tuple[str, ...]:
        return tuple(line for line in self.text(key).split("\n") if line.strip())

    def words(self, key: str) -> tuple[str, ...]:
        """A command line or environment as /proc shows it: parted and ended by NUL."""
        text = self.text(key)
        return tuple(text.removesuffix("\0").split("\0")) if text else ()

    def pairs(self, key: str) -> dict[str, str]:
        """Lines of name<TAB>value."""
        rows = (line.partition("\t") for line in self.lines(key))
        return {name: value for name, _, value in rows}

    def under(self, prefix: str) -> dict[str, str]:
        """Sections whose key starts with `prefix`, by the rest of their key."""
        return {k.removeprefix(prefix): v for k, v in self.texts.items() if k.startswith(prefix)}

    def json(self, key: str, text: str) -> object:
        """`text`, which belongs to section `key`, as JSON; None, and an error, when it is not."""
        try:
            return json.loads(text)
        except ValueError:
            self.errors.setdefault(key, "its JSON does not parse")
            return None


def split(text: str) -> Sections:
    found = Sections()
    for line in text.split("\n"):
        key, tab, coded = line.partition("\t")
        if not tab:
            continue
        try:
            blob = base64.b64decode(coded, validate=True)
            content = blob[:LIMIT].decode()
        except ValueError as exc:  # not base64, or not UTF-8
            found.errors[key] = f"not readable text: {type(exc).__name__}"
            continue
        if len(blob) > LIMIT:
            found.errors[key] = CUT
        _keep(found, key, content)
    if found.texts.pop("end", None) is None:
        found.errors["end"] = "the output ends early; what came after is missing"
    return found


def _keep(found: Sections, key: str, content: str) -> None:
    if key.startswith("error:"):
        found.errors[key.removeprefix("error:")] = content.strip()
    else:
        found.texts[key] = content
