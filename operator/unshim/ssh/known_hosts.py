"""known_hosts, read strictly and completely: what is written in it decides whom we trust.

The format is sshd(8)'s "SSH_KNOWN_HOSTS FILE FORMAT": markers, patterns with `*`, `?` and `!`,
hashed names, `[host]:port`. A line that does not parse is an error, never skipped: it could have
been the line that revokes a key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from unshim.errors import InvalidCredentials

AUTHORITY, REVOKED = "@cert-authority", "@revoked"
DEFAULT_PORT = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line: for hosts matching `patterns`, `blob` is a key, an authority's key, or revoked."""

    number: int
    marker: str  # "", AUTHORITY or REVOKED
    patterns: tuple[str, ...]
    key_type: str
    blob: bytes

    def matches(self, name: str) -> bool:
        """Whether the line is about this host. A negated pattern that matches decides against."""
        name = name.lower()
        if any(p.startswith("!") and _matches(p[1:], name) for p in self.patterns):
            return False
        return any(_matches(p, name) for p in self.patterns if not p.startswith("!"))


def parse(text: str, source: str = "known_hosts") -> tuple[Line, ...]:
    """Every line that says something. Raises InvalidCredentials naming the first bad line."""
    lines = tuple(
        _line(number, stripped, source)
        for number, raw in enumerate(text.splitlines(), 1)
        if (stripped := raw.strip()) and not stripped.startswith("#")
    )
    if not any(line.marker != REVOKED for line in lines):
        raise InvalidCredentials(
            f"The {source} names no host key, so every node would be refused. No node was "
            "contacted. Collect keys with `ssh-keyscan HOST`, compare each fingerprint "
            "(`ssh-keygen -lf FILE`) with the one shown on the node's console, and add them."
        )
    return lines


def about(lines: Iterable[Line], host: str, port: int) -> tuple[Line, ...]:
    """The lines about `host` as seen through `port`.

    Like ssh(1): a port other than 22 is looked up as `[host]:port` first; lines for the bare name
    count only when there is none. What is revoked under either name is revoked.
    """
    lines = tuple(lines)
    bare = tuple(line for line in lines if line.matches(host))
    if port == DEFAULT_PORT:
        return bare
    exact = tuple(line for line in lines if line.matches(f"[{host}]:{port}"))
    revoked = tuple(line for line in (*exact, *bare) if line.marker == REVOKED)
    trusted = tuple(line for line in exact if line.marker != REVOKED)
    return (*revoked, *(trusted or (line for line in bare if line.marker != REVOKED)))


def fingerprint(blob: bytes) -> str:
    """As `ssh-keygen -l` prints it."""
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode()
    return f"SHA256:{digest.rstrip('=')}"


def render(host: str, port: int, key_type: str, blob: bytes) -> str:
    """The line that would vouch for this key."""
    name = host if port == DEFAULT_PORT else f"[{host}]:{port}"
    return f"{name} {key_type} {base64.b64encode(blob).decode()}"


def _line(number: int, text: str, source: str) -> Line:
    fields = text.split()
    marker = fields.pop(0) if fields[0].startswith("@") else ""
    if marker not in ("", AUTHORITY, REVOKED):
        raise _bad(source, number, f"{marker} is not a marker that exists")
    if len(fields) < 3:
        raise _bad(source, number, "it needs host names, a key type and a key")
    patterns = tuple(fields[0].split(","))
    for pattern in patterns:
        _check_pattern(pattern, source, number)
    blob = _blob(fields[1], fields[2], source, number)
    return Line(number=number, marker=marker, patterns=patterns, key_type=fields[1], blob=blob)


def _blob(key_type: str, text: str, source: str, number: int) -> bytes:
    try:
        blob = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _bad(source, number, "its key is not base64") from None
    wanted = key_type.encode()
    if blob[:4] != len(wanted).to_bytes(4, "big") or blob[4 : 4 + len(wanted)] != wanted:
        raise _bad(source, number, f"its key is damaged, or not of the type {key_type}")
    return blob


def _check_pattern(pattern: str, source: str, number: int) -> None:
    if not pattern.strip("!"):
        raise _bad(source, number, "one of its host names is empty")
    if pattern.startswith("|") and _hashed(pattern) is None:
        raise _bad(source, number, "its hashed host name is damaged")


def _hashed(pattern: str) -> tuple[bytes, bytes] | None:
    """Salt and HMAC of `|1|salt|hmac`."""
    parts = pattern.split("|")
    if len(parts) != 4 or parts[0] or parts[1] != "1":
        return None
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in parts[2:])
    except (binascii.Error, ValueError):
        return None
    return (
        (salt, digest)
        if len(digest) == hashlib.sha1(b"", usedforsecurity=False).digest_size
        else None
    )


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith("|"):
        found = _hashed(pattern)
        # The format fixes SHA-1 here; it hides names and vouches for nothing.
        return found is not None and hmac.compare_digest(
            hmac.digest(found[0], name.encode(), "sha1"), found[1]
        )
    if "*" not in pattern and "?" not in pattern:
        return pattern.lower() == name
    words = {"*": ".*", "?": "."}
    expression = "".join(words.get(c, re.escape(c)) for c in pattern.lower())
    return re.fullmatch(expression, name) is not None


def _bad(source: str, number: int, why: str) -> InvalidCredentials:
    return InvalidCredentials(
        f"The {source}, line {number}: {why}. No node was contacted. Correct or remove the line."
    )


def numbers(lines: Sequence[Line]) -> str:
    """“line 3” or “lines 3, 7”."""
    listed = ", ".join(str(line.number) for line in lines)
    return f"line{'s' if len(lines) > 1 else ''} {listed}"
