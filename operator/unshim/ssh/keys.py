"""The login key and its certificate: text -> what paramiko signs with."""

from __future__ import annotations

import base64
import binascii
import io
import time

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from unshim.errors import InvalidCredentials
from unshim.ssh.settings import NOTHING_CHANGED, SshSettings

_CLASSES: tuple[tuple[type, type[paramiko.PKey]], ...] = (
    (ed25519.Ed25519PrivateKey, paramiko.Ed25519Key),
    (ec.EllipticCurvePrivateKey, paramiko.ECDSAKey),
    (rsa.RSAPrivateKey, paramiko.RSAKey),
)


def login_key(settings: SshSettings) -> paramiko.PKey:
    """The private key, with the certificate attached if there is one. Raises InvalidCredentials."""
    key = _private_key(settings.private_key.reveal(), settings.private_key_source)
    if settings.certificate.strip():
        _attach(key, settings.certificate, settings.certificate_source)
    return key


def check_valid_now(settings: SshSettings) -> None:
    """Raises InvalidCredentials when the certificate has expired or is not valid yet."""
    if not settings.certificate.strip():
        return
    certificate = _certificate(settings.certificate, settings.certificate_source)
    now = time.time()
    if not certificate.valid_after <= now < certificate.valid_before:
        raise _bad(
            settings.certificate_source,
            f"it is valid from {_utc(certificate.valid_after)} "
            f"to {_utc(certificate.valid_before)}, and now it is {_utc(now)}: issue a new one",
        )


def _private_key(text: str, source: str) -> paramiko.PKey:
    _check_kind(text, source)
    key = _parse(text.strip().replace("\r\n", "\n") + "\n", source)
    for kind, wanted in _CLASSES:
        if isinstance(key, kind):
            return wanted.from_private_key(io.StringIO(_openssh(key)))
    raise _bad(source, "its type is not Ed25519, ECDSA or RSA: make one with ssh-keygen -t ed25519")


def _check_kind(text: str, source: str) -> None:
    head = text.strip()[:60]
    if not head:
        raise _bad(source, "it is empty")
    if head.startswith(("ssh-", "ecdsa-", "sk-")):
        raise _bad(source, "it holds a public key, not the private one")
    if head.startswith("PuTTY-User-Key-File"):
        raise _bad(source, "it is a PuTTY key: convert it with puttygen -O private-openssh")
    if "-----BEGIN" not in text:
        raise _bad(source, "it is not a private key: no line -----BEGIN … PRIVATE KEY-----")


def _parse(text: str, source: str) -> object:
    openssh = "BEGIN OPENSSH" in text
    load = serialization.load_ssh_private_key if openssh else serialization.load_pem_private_key
    try:
        return load(text.encode(), password=None)
    except TypeError:
        raise _bad(
            source,
            "it is encrypted with a passphrase, and nobody is there to type it: use a key without "
            "one (ssh-keygen -p -N '' -f COPY), kept in a Secret",
        ) from None
    except UnsupportedAlgorithm:
        raise _bad(source, "its type or encryption is not supported") from None
    except ValueError:
        raise _bad(source, "it is damaged, or not a private key") from None


def _openssh(key: object) -> str:
    assert isinstance(  # noqa: S101  one of _CLASSES
        key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    )
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    ).decode()


def _attach(key: paramiko.PKey, text: str, source: str) -> None:
    certificate = _certificate(text, source)
    if certificate.type is not serialization.SSHCertificateType.USER:
        raise _bad(source, "it is a host certificate; a login needs a user certificate")
    public = certificate.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    if base64.b64decode(public.split()[1]) != key.asbytes():
        raise _bad(source, "it was issued for another key than the private key")
    key.load_certificate(paramiko.Message(_certificate_blob(text)))


def _certificate(text: str, source: str) -> serialization.SSHCertificate:
    try:
        found = serialization.load_ssh_public_identity(text.strip().encode())
    except (ValueError, UnsupportedAlgorithm):
        raise _bad(source, "it is not an SSH certificate (the -cert.pub file)") from None
    if not isinstance(found, serialization.SSHCertificate):
        raise _bad(source, "it is a plain public key, not a certificate (the -cert.pub file)")
    return found


def _certificate_blob(text: str) -> bytes:
    try:
        return base64.b64decode(text.split()[1], validate=True)
    except (IndexError, binascii.Error) as exc:  # pragma: no cover  _certificate() parsed it
        raise InvalidCredentials("The certificate is damaged.") from exc


def _utc(seconds: float) -> str:
    if seconds >= 2**63:
        return "forever"
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _bad(source: str, why: str) -> InvalidCredentials:
    return InvalidCredentials(f"The {source} cannot be used: {why}. {NOTHING_CHANGED}")
