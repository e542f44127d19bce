"""Does a certificate authority that we trust say that this key is this host's?

paramiko negotiates host certificates but checks nothing in them. The rules are those of OpenSSH's
PROTOCOL.certkeys, with two made stricter: a certificate without principals is refused, and so is
one signed with SHA-1.
"""

from __future__ import annotations

import base64
from collections.abc import Collection

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

_SHA1 = b"ssh-rsa"


def objection(
    blob: bytes, *, names: Collection[str], authorities: Collection[bytes], now: float
) -> str:
    """Why the certificate does not vouch for a host of one of these `names`; empty when it does.

    `authorities` are the public key blobs of the authorities trusted for it; `now` is in seconds
    since 1970.
    """
    try:
        found = serialization.load_ssh_public_identity(_line(blob))
        if not isinstance(found, serialization.SSHCertificate):
            return "it is not a certificate"
        return (
            _wrong_signer(found, blob, authorities)
            or _wrong_kind(found)
            or _wrong_name(found, names)
            or _wrong_time(found, now)
        )
    except (ValueError, UnsupportedAlgorithm, AssertionError):
        return "it is damaged or of an unsupported type"


def signer(blob: bytes) -> bytes:
    """The authority's public key blob as the certificate names it; empty when it is damaged."""
    try:
        found = serialization.load_ssh_public_identity(_line(blob))
    except (ValueError, UnsupportedAlgorithm):
        return b""
    return _signer(found) if isinstance(found, serialization.SSHCertificate) else b""


def _signer(certificate: serialization.SSHCertificate) -> bytes:
    public = certificate.signature_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return base64.b64decode(public.split()[1])


def _wrong_signer(
    certificate: serialization.SSHCertificate, blob: bytes, authorities: Collection[bytes]
) -> str:
    if _signer(certificate) not in authorities:
        return "its authority is not trusted for this host"
    if _signature_type(blob) == _SHA1:
        return "it is signed with SHA-1"
    try:
        certificate.verify_cert_signature()
    except InvalidSignature:
        return "its signature is wrong"
    return ""


def _wrong_kind(certificate: serialization.SSHCertificate) -> str:
    if certificate.type is not serialization.SSHCertificateType.HOST:
        return "it is a user certificate"
    if certificate.critical_options:
        return "it carries critical options that nobody here understands"
    return ""


def _wrong_name(certificate: serialization.SSHCertificate, names: Collection[str]) -> str:
    principals = [p.decode(errors="replace") for p in certificate.valid_principals]
    if not {p.lower() for p in principals} & {name.lower() for name in names}:
        return f"it is for {', '.join(principals) or 'no host by name'}"
    return ""


def _wrong_time(certificate: serialization.SSHCertificate, now: float) -> str:
    if now < certificate.valid_after:
        return "it is not valid yet"
    return "it has expired" if now >= certificate.valid_before else ""


def _signature_type(blob: bytes) -> bytes:
    """The algorithm of the authority's signature: the last string of the blob holds it first."""
    for start in range(len(blob) - 4, 0, -1):
        if int.from_bytes(blob[start : start + 4], "big") == len(blob) - start - 4:
            inner = blob[start + 4 :]
            size = int.from_bytes(inner[:4], "big")
            if inner[4 : 4 + size] in _SIGNATURES:
                return inner[4 : 4 + size]
    return _SHA1  # unknown is as good as weak


_SIGNATURES = frozenset(
    {
        _SHA1,
        b"rsa-sha2-256",
        b"rsa-sha2-512",
        b"ssh-ed25519",
        b"ecdsa-sha2-nistp256",
        b"ecdsa-sha2-nistp384",
        b"ecdsa-sha2-nistp521",
    }
)


def _line(blob: bytes) -> bytes:
    size = int.from_bytes(blob[:4], "big")
    return blob[4 : 4 + size] + b" " + base64.b64encode(blob)
