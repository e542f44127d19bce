"""systemd's own reading of environment files and unit files, keeping where each character stands.

Knowing the place of every decoded character lets an edit take one word out of a value and leave
all else byte for byte: quotes, `\\`-continued lines, comments, order.

The grammar is that of systemd.exec(5), systemd.service(5) and systemd.syntax(7).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

_SPACE = " \t\n\r"
_ESCAPABLE = '"\\`$'  # inside double quotes of an environment file a backslash escapes only these
_C_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "s": " ", "\\": "\\", '"': '"', "'": "'"}


class Char(NamedTuple):
    """One decoded character and the span of source text that stands for it."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Word:
    """One word after unquoting. `start` and `end` span its source, quotes included."""

    chars: tuple[Char, ...]
    start: int
    end: int

    @property
    def text(self) -> str:
        return "".join(char.text for char in self.chars)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """An assignment. `insert_at` is where a first word would go when the value is empty."""

    name: str
    value: tuple[Char, ...]
    insert_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One `Key=value` of a unit file. `start` and `end` span its whole logical line."""

    section: str
    key: str
    value: tuple[Char, ...]
    start: int
    end: int

    @property
    def text(self) -> str:
        return "".join(char.text for char in self.value)


def words(chars: Sequence[Char], *, c_escapes: bool = False) -> tuple[Word, ...]:
    """Split at whitespace, honouring quotes and backslashes, as systemd splits `$NAME`.

    `c_escapes` also decodes \\n and the like, as in ExecStart= and Environment=.
    """
    found: list[Word] = []
    index = 0
    while index < len(chars):
        if chars[index].text in _SPACE:
            index += 1
            continue
        word, index = _word(chars, index, c_escapes)
        found.append(word)
    return tuple(found)


def _word(chars: Sequence[Char], index: int, c_escapes: bool) -> tuple[Word, int]:
    start, quote, kept = chars[index].start, "", []
    while index < len(chars) and (quote or chars[index].text not in _SPACE):
        char = chars[index]
        if char.text == "\\" and index + 1 < len(chars):
            kept += _escaped(char, chars[index + 1], c_escapes)
            index += 1
        elif quote and char.text == quote:
            quote = ""
        elif not quote and char.text in "\"'":
            quote = char.text
        else:
            kept.append(char)
        index += 1
    return Word(tuple(kept), start, chars[index - 1].end), index


def _escaped(slash: Char, char: Char, c_escapes: bool) -> list[Char]:
    if not c_escapes:
        return [Char(char.text, slash.start, char.end)]
    if char.text in _C_ESCAPES:
        return [Char(_C_ESCAPES[char.text], slash.start, char.end)]
    return [slash, char]  # \xNN and octal escapes stay as written: no flag of ours uses them


def environment_file(text: str) -> tuple[Variable, ...]:
    """The assignments of an EnvironmentFile= in order."""
    found: list[Variable] = []
    index = 0
    while index < len(text):
        if text[index] in _SPACE:
            index += 1
        elif text[index] in "#;":
            index = _line_end(text, index)
        else:
            variable, index = _assignment(text, index)
            if variable is not None:
                found.append(variable)
    return tuple(found)


def _line_end(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1


def _assignment(text: str, index: int) -> tuple[Variable | None, int]:
    line_end = _line_end(text, index)
    equals = text.find("=", index, line_end)
    if equals < 0:
        return None, line_end
    value, insert_at, end = _environment_value(text, equals + 1)
    name = text[index:equals].strip()
    return Variable(name=name, value=tuple(value), insert_at=insert_at), end


def _environment_value(text: str, index: int) -> tuple[list[Char], int, int]:
    """Decode one value: characters, where the first would stand, and where the next line starts."""
    chars: list[Char] = []
    insert_at = index
    while index < len(text) and text[index] not in "\n\r":
        char = text[index]
        if char in "\"'":
            if not chars:
                insert_at = index + 1
            quoted, index = _quoted(text, index)
            chars += quoted
        elif char in " \t":
            index += 1
        else:
            bare, index = _bare(text, index)
            return chars + bare, insert_at, index
    return chars, insert_at, index + 1


def _quoted(text: str, index: int) -> tuple[list[Char], int]:
    quote, chars = text[index], []
    index += 1
    while index < len(text) and text[index] != quote:
        step = 1
        if quote == '"' and text[index] == "\\" and index + 1 < len(text):
            step = 2
            follower = text[index + 1]
            if follower in _ESCAPABLE:
                chars.append(Char(follower, index, index + 2))
            elif follower != "\n":
                chars += [Char("\\", index, index + 1), Char(follower, index + 1, index + 2)]
        else:
            chars.append(Char(text[index], index, index + 1))
        index += step
    return chars, index + 1


def _bare(text: str, index: int) -> tuple[list[Char], int]:
    """The rest of an unquoted value: quotes in it are plain characters, as systemd has it."""
    chars: list[Char] = []
    while index < len(text) and text[index] not in "\n\r":
        if text[index] == "\\" and index + 1 < len(text):
            if text[index + 1] != "\n":
                chars.append(Char(text[index + 1], index, index + 2))
            index += 2
        else:
            chars.append(Char(text[index], index, index + 1))
            index += 1
    while chars and chars[-1].text in _SPACE:
        chars.pop()
    return chars, index + 1


@lru_cache(maxsize=256)  # several edits and rules ask for the same few files of a node
def settings(text: str) -> tuple[Setting, ...]:
    """The settings of a unit file or drop-in in order."""
    return tuple(_settings(text))


def _settings(text: str) -> Iterator[Setting]:
    section = ""
    for chars, start, end in _logical_lines(text):
        line = "".join(char.text for char in chars).strip()
        if line.startswith("["):
            section = line.strip("[]")
            continue
        equals = next((n for n, char in enumerate(chars) if char.text == "="), None)
        if equals is None:
            continue
        key = "".join(char.text for char in chars[:equals]).strip()
        value = _stripped(chars[equals + 1 :])
        yield Setting(section=section, key=key, value=value, start=start, end=end)


def _logical_lines(text: str) -> Iterator[tuple[list[Char], int, int]]:
    """Lines that end in `\\` joined by a space; comment lines dropped, also in between."""
    chars: list[Char] = []
    start, index, joined = 0, 0, False
    while index < len(text):
        end = _line_end(text, index)
        line = text[index:end].rstrip("\r\n")
        comment = line.lstrip()[:1] in ("#", ";")
        if not joined:
            chars, start = [], index
        if not comment:
            joined = line.endswith("\\")
            body = line[:-1] if joined else line
            chars += [Char(c, index + n, index + n + 1) for n, c in enumerate(body)]
            if joined:
                chars.append(Char(" ", index + len(body), end))
        index = end
        if not joined and not comment:
            yield chars, start, end
    if joined:
        yield chars, start, len(text)


def _stripped(chars: Sequence[Char]) -> tuple[Char, ...]:
    kept = list(chars)
    while kept and kept[0].text in _SPACE:
        kept.pop(0)
    while kept and kept[-1].text in _SPACE:
        kept.pop()
    return tuple(kept)
