"""Host certificates: an authority vouches for hosts by name, within its limits."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ssh.conftest import KeyPair, Sshd, Sshds, accepted, make_key, refusal, sign
from unshim.ssh import SshConnector, host_certificates

Connect = Callable[..., SshConnector]


def authority_line(authority: KeyPair, marker: str = "@cert-authority") -> str:
    words = authority.public.split()
    return f"{marker} * {words[0]} {words[1]}\n"


@pytest.fixture
def authority(tmp_path: Path) -> KeyPair:
    return make_key(tmp_path, "authority")


def with_certificate(
    sshds: Sshds, authority: KeyPair, *options: str, kind: str = "ed25519"
) -> Sshd:
    key = make_key(sshds.folder, f"host_{len(sshds.running)}", kind)
    sign(authority, key, *options)
    return sshds.start(f"HostCertificate {key.path}-cert.pub", host_key=key)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_host_certificate_is_accepted(
    sshds: Sshds, connector: Connect, authority: KeyPair, kind: str
) -> None:
    """@cert-authority vouches for hosts by name, whatever their key's type."""
    server = with_certificate(sshds, authority, "-h", "-n", "worker-1,worker-9", kind=kind)
    assert accepted(connector(server, known_hosts=authority_line(authority)))


def test_a_certificate_by_an_rsa_authority_is_accepted(
    sshds: Sshds, connector: Connect, tmp_path: Path
) -> None:
    """RSA authorities sign with SHA-2."""
    rsa = make_key(tmp_path, "rsa", "rsa")
    server = with_certificate(sshds, rsa, "-h", "-n", "worker-1", "-t", "rsa-sha2-256")
    assert accepted(connector(server, known_hosts=authority_line(rsa)))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["-h", "-n", "worker-2"], "it is for worker-2"),
        (["-h"], "it is for no host by name"),
        (["-n", "worker-1"], "is not for hosts|user certificate|not signed"),
        (["-h", "-n", "worker-1", "-V", "20200101:20200201"], "expired"),
        (["-h", "-n", "worker-1", "-V", "20900101:20910101"], "not valid yet"),
    ],
    ids=["another host", "no principal", "user certificate", "expired", "not yet"],
)
def test_a_certificate_that_does_not_fit_is_refused(
    sshds: Sshds, connector: Connect, authority: KeyPair, options: list[str], why: str
) -> None:
    """Wrong name, no name, wrong kind, too old, too new: each is refused with its reason."""
    server = with_certificate(sshds, authority, *options)
    text = refusal(connector(server, known_hosts=authority_line(authority)))
    if "-h" in options:  # sshd itself does not serve a user certificate as its own
        assert why in text


def test_a_certificate_signed_with_sha1_is_refused(tmp_path: Path) -> None:
    """An RSA authority's old signature algorithm proves nothing any more."""
    rsa, key = make_key(tmp_path, "rsa", "rsa"), make_key(tmp_path, "key")

    def objection(algorithm: str) -> str:
        text = sign(rsa, key, "-h", "-n", "worker-1", "-t", algorithm)
        return host_certificates.objection(
            base64.b64decode(text.split()[1]),
            names=["worker-1"],
            authorities=[base64.b64decode(rsa.public.split()[1])],
            now=time.time(),
        )

    assert objection("rsa-sha2-512") == ""
    assert "SHA-1" in objection("ssh-rsa")


def test_a_certificate_changed_in_any_byte_is_refused(authority: KeyPair, tmp_path: Path) -> None:
    """Whatever byte of a good certificate is turned over, it vouches for nothing."""
    text = sign(authority, make_key(tmp_path, "key"), "-h", "-n", "worker-1")
    blob = base64.b64decode(text.split()[1])
    trusted = [base64.b64decode(authority.public.split()[1])]

    def objection(changed: bytes) -> str:
        return host_certificates.objection(
            changed, names=["worker-1"], authorities=trusted, now=time.time()
        )

    assert objection(blob) == ""
    for place in range(len(blob)):
        changed = bytearray(blob)
        changed[place] ^= 1
        assert objection(bytes(changed)), place


def test_another_authority_s_certificate_is_refused(
    sshds: Sshds, connector: Connect, authority: KeyPair, tmp_path: Path
) -> None:
    """A certificate helps only when its own authority is trusted."""
    server = with_certificate(sshds, make_key(tmp_path, "rogue"), "-h", "-n", "worker-1")
    text = refusal(connector(server, known_hosts=authority_line(authority)))
    assert "its authority is not trusted" in text


def test_a_revoked_authority_is_refused(
    sshds: Sshds, connector: Connect, authority: KeyPair
) -> None:
    """@revoked works for an authority's key as well."""
    server = with_certificate(sshds, authority, "-h", "-n", "worker-1")
    known = authority_line(authority) + authority_line(authority, "@revoked")
    assert "revokes" in refusal(connector(server, known_hosts=known))


def test_a_pinned_key_counts_though_a_certificate_came_with_it(
    sshds: Sshds, connector: Connect, authority: KeyPair, tmp_path: Path
) -> None:
    """The key inside a certificate of no use is still a key that known_hosts may have."""
    server = with_certificate(sshds, make_key(tmp_path, "rogue"), "-h", "-n", "worker-1")
    assert accepted(connector(server, known_hosts=authority_line(authority) + server.line()))


def test_a_certificate_beats_an_outdated_line(
    sshds: Sshds, connector: Connect, authority: KeyPair, tmp_path: Path
) -> None:
    """A reinstalled host with a fresh certificate is trusted though its old line remains."""
    server = with_certificate(sshds, authority, "-h", "-n", "worker-1")
    known = authority_line(authority) + server.line(make_key(tmp_path, "old"))
    assert accepted(connector(server, known_hosts=known))
