"""The judgement on a host key. It accepts, or raises HostKeyRejected: there is no third way.

A host has up to two names, its address and its Node's name. One that known_hosts knows must vouch
for the key; a name that known_hosts knows with another key of the same type is a contradiction, and
refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unshim.errors import HostKeyRejected
from unshim.ssh import host_certificates, known_hosts
from unshim.ssh.known_hosts import AUTHORITY, REVOKED, Line

CERTIFICATE_SUFFIX = "-cert-v01@openssh.com"

# Best first. ssh-rsa (SHA-1) and ssh-dss are not here, so they are never negotiated.
ALGORITHMS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What the host showed: its key, and the certificate around it if there was one."""

    key_type: str
    blob: bytes
    certificate: bytes = b""

    @property
    def shown_by(self) -> str:
        """The command that shows the host's own fingerprint, typed at the host itself."""
        kind = self.key_type.removeprefix("ssh-").partition("-")[0]
        return f"ssh-keygen -lf /etc/ssh/ssh_host_{kind}_key.pub"

    def __str__(self) -> str:
        return f"{self.key_type} {known_hosts.fingerprint(self.blob)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A host as we look it up. `label` is how messages call it."""

    host: str
    port: int
    label: str
    alias: str = ""  # the Node's name

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for name in (self.host, self.alias) if name))

    def __str__(self) -> str:
        return f"{self.label} ({self.host} port {self.port})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What known_hosts says about a host: its lines, by each of the host's names."""

    peer: Peer
    by_name: Mapping[str, tuple[Line, ...]]

    @property
    def lines(self) -> tuple[Line, ...]:
        found = {line.number: line for lines in self.by_name.values() for line in lines}
        return tuple(found[number] for number in sorted(found))

    def marked(self, marker: str) -> tuple[Line, ...]:
        return tuple(line for line in self.lines if line.marker == marker)


def claims(lines: Sequence[Line], peer: Peer) -> Claims:
    """Look the host up, once for each connection."""
    found = {name: known_hosts.about(lines, name, peer.port) for name in peer.names}
    return Claims(peer=peer, by_name=found)


def algorithms(known: Claims) -> tuple[str, ...]:
    """Host key algorithms to ask for: those that known_hosts can vouch for come first.

    The others follow, so that an unknown key can at least be named in the refusal.
    """
    types = {line.key_type for line in known.marked("")}
    plain = [a for a in ALGORITHMS if _type_of(a) in types]
    rest = [a for a in ALGORITHMS if a not in plain]
    if known.marked(AUTHORITY):
        return (*(a + CERTIFICATE_SUFFIX for a in ALGORITHMS), *plain, *rest)
    return (*plain, *rest)


def check(known: Claims, offer: Offer, now: float) -> None:
    """Returns only when known_hosts vouches for the key. Raises HostKeyRejected."""
    _check_not_revoked(known, offer)
    objection = _certificate_objection(known, offer, now) if offer.certificate else ""
    if offer.certificate and not objection:
        return
    _check_no_contradiction(known, offer)
    if not any(_vouches(line, offer) for line in known.lines):
        raise _unknown(known, offer, objection)


def _certificate_objection(known: Claims, offer: Offer, now: float) -> str:
    return host_certificates.objection(
        offer.certificate,
        names=known.peer.names,
        authorities={line.blob for line in known.marked(AUTHORITY)},
        now=now,
    )


def _check_not_revoked(known: Claims, offer: Offer) -> None:
    shown = {offer.blob}
    if offer.certificate:
        shown.add(host_certificates.signer(offer.certificate))
    for line in known.marked(REVOKED):
        if line.blob in shown:
            raise HostKeyRejected(
                f"{known.peer} offered the host key {offer}, which line {line.number} of "
                "known_hosts revokes. Nothing was changed. Somebody may hold a stolen key: find "
                "out whose machine answers there before you go on."
            )


def _check_no_contradiction(known: Claims, offer: Offer) -> None:
    for name, lines in known.by_name.items():
        mine = [line for line in lines if not line.marker and line.key_type == offer.key_type]
        if mine and not any(_vouches(line, offer) for line in mine):
            raise HostKeyRejected(
                f"The host key of {known.peer} has changed: it offered {offer}, and known_hosts "
                f"({known_hosts.numbers(mine)}) has {known_hosts.fingerprint(mine[0].blob)} for "
                f"{name}. Nothing was changed. Either the machine was installed anew, or another "
                f"machine answers in its place. Look at the fingerprint on its console "
                f"({offer.shown_by}); only if it is the one offered, replace "
                f"{known_hosts.numbers(mine)}."
            )


def _unknown(known: Claims, offer: Offer, objection: str) -> HostKeyRejected:
    others = known.marked("")
    has = "does not know it"
    if others:
        types = ", ".join(sorted({line.key_type for line in others}))
        has = f"has only keys of other types for it ({types}, {known_hosts.numbers(others)})"
    certificate = f" Its certificate does not help: {objection}." if objection else ""
    peer = known.peer
    line = known_hosts.render(peer.host, peer.port, offer.key_type, offer.blob)
    return HostKeyRejected(
        f"{peer} offered the host key {offer}, and known_hosts {has}.{certificate} Nothing was "
        f"changed. Compare the fingerprint with the one on its console ({offer.shown_by}); only if "
        f"they are equal, add to known_hosts: {line}"
    )


def _vouches(line: Line, offer: Offer) -> bool:
    return not line.marker and line.key_type == offer.key_type and line.blob == offer.blob


def _type_of(algorithm: str) -> str:
    """The key type as known_hosts writes it: one RSA key serves both SHA-2 algorithms."""
    return "ssh-rsa" if algorithm.startswith("rsa-") else algorithm
