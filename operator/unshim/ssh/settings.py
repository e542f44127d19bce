"""What one needs to log in to nodes: read from mounted Secrets or a person's own files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unshim.errors import InvalidCredentials

NOTHING_CHANGED = "No node was contacted."


class Secret:
    """Text that must not be shown: its repr, str and format say nothing about it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(redacted)"

    def __reduce__(self) -> str:
        raise TypeError("a Secret cannot be pickled or copied into another process")


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump:
    """A host to go through; its host key is checked as strictly as a node's."""

    host: str
    port: int = 22
    user: str = ""  # empty: the user of the nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class SshSettings:
    """`known_hosts` is the text of a known_hosts file, `certificate` that of a `-cert.pub` file.

    The `…_source` fields say where a text came from, for messages.
    """

    private_key: Secret
    known_hosts: str
    certificate: str = ""
    user: str = "root"
    port: int = 22
    jump: Jump | None = None
    connect_timeout: float = 10.0  # seconds, for each of: TCP, key exchange, login
    private_key_source: str = "private key"
    known_hosts_source: str = "known_hosts"
    certificate_source: str = "certificate"


def load_settings(
    *,
    user: str,
    port: int,
    key_file: Path,
    known_hosts_file: Path,
    cert_file: Path | None = None,
    jump: str = "",
    connect_timeout: float = 10.0,
) -> SshSettings:
    """Read the files. Raises InvalidCredentials naming the file and what is wrong."""
    return SshSettings(
        user=_user(user),
        port=port,
        private_key=Secret(_read("private key", key_file)),
        certificate=_read("certificate", cert_file) if cert_file else "",
        known_hosts=_read("known_hosts", known_hosts_file),
        jump=parse_jump(jump) if jump else None,
        connect_timeout=connect_timeout,
        private_key_source=f"private key {key_file}",
        known_hosts_source=f"known_hosts {known_hosts_file}",
        certificate_source=f"certificate {cert_file}",
    )


def parse_jump(text: str) -> Jump:
    """Parse "[user@]host[:port]"; an IPv6 address with a port stands in brackets.

    Raises InvalidCredentials.
    """
    user, _, place = text.rpartition("@")
    host, port = _host_and_port(place)
    if not host or any(c.isspace() for c in text) or not 1 <= port <= 65535:
        raise InvalidCredentials(
            f"The jump host is {text!r}; expected user@host:port. {NOTHING_CHANGED}"
        )
    return Jump(user=user, host=host, port=port)


def _host_and_port(place: str) -> tuple[str, int]:
    """(“”, 0) when it makes no sense."""
    if place.startswith("["):
        host, closed, rest = place[1:].partition("]")
        port = (rest.removeprefix(":") or "22") if closed else ""
    elif place.count(":") > 1:
        host, port = place, "22"
    else:
        host, _, port = place.partition(":")
        port = port or "22"
    return (host, int(port)) if port.isascii() and port.isdigit() else ("", 0)


def _user(name: str) -> str:
    if not name or any(c.isspace() or not c.isprintable() for c in name):
        raise InvalidCredentials(f"The SSH user is {name!r}; expected a name. {NOTHING_CHANGED}")
    return name


def _read(what: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as exc:
        raise InvalidCredentials(
            f"The {what} {path} is not text (byte {exc.start}). {NOTHING_CHANGED}"
        ) from None
    except OSError as exc:
        raise InvalidCredentials(
            f"The {what} {path} cannot be read: {exc.strerror}. {NOTHING_CHANGED} "
            "Mount the Secret there, or give the right path."
        ) from exc
