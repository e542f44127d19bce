"""Keys, certificates, known_hosts and the files they come from: what is wrong is said by name."""

from __future__ import annotations

import copy
import logging
import pickle
import subprocess
from pathlib import Path

import pytest

from tests.ssh.conftest import (
    KeyPair,
    Sshd,
    Sshds,
    free_port,
    make_key,
    settings,
    sign,
)
from unshim.errors import (
    InvalidCredentials,
    UnshimError,
)
from unshim.ssh import Secret, SshConnector, load_settings
from unshim.ssh.settings import parse_jump


def works(connector: SshConnector) -> bool:
    shell = connector.connect("127.0.0.1", node="worker-1")
    try:
        return shell.run("id -u", timeout=5).out == "0\n"
    finally:
        shell.close()


@pytest.fixture
def authority(tmp_path: Path) -> KeyPair:
    return make_key(tmp_path, "user_ca")


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("ed25519", "openssh"),  # the only form that ssh-keygen writes it in
        ("ecdsa", "openssh"),
        ("ecdsa", "PEM"),
        ("ecdsa", "PKCS8"),
        ("rsa", "openssh"),
        ("rsa", "PEM"),
        ("rsa", "PKCS8"),
    ],
)
def test_every_usual_key_gets_in(sshds: Sshds, tmp_path: Path, kind: str, form: str) -> None:
    """Ed25519, ECDSA and RSA (with SHA-2), in OpenSSH, PEM and PKCS#8 form."""
    key = make_key(tmp_path, "id", kind)
    if form != "openssh":
        command = ["ssh-keygen", "-q", "-p", "-N", "", "-m", form, "-f", str(key.path)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    server = sshds.start(authorized=key.public)
    assert works(SshConnector(settings(server, key)))


def test_a_key_with_windows_line_ends_gets_in(sshd: Sshd, login_key: KeyPair) -> None:
    """A key that went through a Windows editor is still a key."""
    secret = Secret(login_key.private.replace("\n", "\r\n").strip())
    assert works(SshConnector(settings(sshd, login_key, private_key=secret)))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["-n", "root", "-V", "20200101:20200201"], "issue a new one"),
        (["-n", "root", "-V", "20900101:20910101"], "issue a new one"),
        (["-h", "-n", "root"], "host certificate"),
    ],
)
def test_a_certificate_of_no_use_is_named_before_anybody_is_contacted(
    sshd: Sshd, tmp_path: Path, authority: KeyPair, options: list[str], why: str
) -> None:
    """Expired, not valid yet, or for hosts: the certificate is at fault, not the node."""
    key = make_key(tmp_path, "id")
    text = sign(authority, key, *options)
    with pytest.raises(InvalidCredentials, match=why):
        works(SshConnector(settings(sshd, key, certificate=text)))


def test_a_certificate_of_another_key_is_named(
    sshd: Sshd, login_key: KeyPair, tmp_path: Path, authority: KeyPair
) -> None:
    """Key and certificate must belong together."""
    text = sign(authority, make_key(tmp_path, "other"), "-n", "root")
    with pytest.raises(InvalidCredentials, match="another key"):
        SshConnector(settings(sshd, login_key, certificate=text))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGS me", "public key"),
        ("PuTTY-User-Key-File-3: ssh-ed25519", "puttygen"),
        ("hunter2", "not a private key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\naaaa\n-----END OPENSSH PRIVATE KEY-----", "damaged"),
        ("-----BEGIN PRIVATE KEY-----\naaaa\n-----END PRIVATE KEY-----\n", "damaged"),
    ],
)
def test_a_key_of_no_use_is_named_without_showing_it(
    sshd: Sshd, login_key: KeyPair, text: str, why: str
) -> None:
    """The message says which text is wrong and how, and shows nothing of it."""
    with pytest.raises(InvalidCredentials, match=why) as caught:
        SshConnector(settings(sshd, login_key, private_key=Secret(text)))
    assert "private key" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "aaaa" not in str(caught.value)


@pytest.mark.parametrize("form", ["openssh", "PEM"])
def test_an_encrypted_key_is_named(
    sshd: Sshd, login_key: KeyPair, tmp_path: Path, form: str
) -> None:
    """Nobody is there to type a passphrase."""
    kind = "rsa" if form == "PEM" else "ed25519"
    key = make_key(tmp_path, "id", kind)
    command = ["ssh-keygen", "-q", "-p", "-N", "hunter2", "-f", str(key.path)]
    command += ["-m", "PEM"] if form == "PEM" else []
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with pytest.raises(InvalidCredentials, match="passphrase"):
        SshConnector(settings(sshd, login_key, private_key=Secret(key.private)))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "names no host key"),
        ("# only a comment\n\n", "names no host key"),
        ("@revoked * ssh-ed25519 {blob}\n", "names no host key"),
        ("a ssh-ed25519 {blob}\nb ssh-ed25519\n", "line 2: it needs"),
        ("\n\na ssh-ed25519 ###\n", "line 3: its key is not base64"),
        ("a ssh-rsa {blob}\n", "line 1: its key is damaged, or not of the type ssh-rsa"),
        ("@trusted a ssh-ed25519 {blob}\n", "line 1: @trusted is not a marker"),
        ("|1|x|y ssh-ed25519 {blob}\n", "line 1: its hashed host name is damaged"),
        ("a,,b ssh-ed25519 {blob}\n", "line 1: one of its host names is empty"),
    ],
)
def test_a_known_hosts_of_no_use_is_named_by_its_line(
    sshd: Sshd, login_key: KeyPair, text: str, why: str
) -> None:
    """No line is skipped in silence: it could be the one that revokes a key."""
    text = text.replace("{blob}", login_key.public.split()[1])
    with pytest.raises(InvalidCredentials, match=why):
        SshConnector(settings(sshd, login_key, known_hosts=text))


def test_files_are_read_and_named_when_they_cannot_be(
    sshd: Sshd, login_key: KeyPair, tmp_path: Path
) -> None:
    """Mounted Secrets and a person's own paths: what is missing is called by its path."""
    known = tmp_path / "known_hosts"
    known.write_text(sshd.line())
    args = {"user": "root", "port": sshd.port, "known_hosts_file": known}
    assert works(SshConnector(load_settings(key_file=login_key.path, **args)))  # type: ignore[arg-type]
    with pytest.raises(InvalidCredentials, match=f"private key {tmp_path}/none cannot be read"):
        load_settings(key_file=tmp_path / "none", **args)  # type: ignore[arg-type]
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidCredentials, match="is not text"):
        load_settings(key_file=tmp_path / "binary", **args)  # type: ignore[arg-type]
    with pytest.raises(InvalidCredentials, match="SSH user"):
        load_settings(key_file=login_key.path, **{**args, "user": "a b"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("gate", ("", "gate", 22)),
        ("ops@gate", ("ops", "gate", 22)),
        ("ops@gate:2222", ("ops", "gate", 2222)),
        ("ops@10.0.0.1:2222", ("ops", "10.0.0.1", 2222)),
        ("ops@[fe80::1]:2222", ("ops", "fe80::1", 2222)),
        ("fe80::1", ("", "fe80::1", 22)),
    ],
)
def test_jump_hosts_are_parsed(text: str, parts: tuple[str, str, int]) -> None:
    """user@host:port, with the usual omissions."""
    jump = parse_jump(text)
    assert (jump.user, jump.host, jump.port) == parts


@pytest.mark.parametrize("text", ["ops@", "ops@gate:ssh", "gate:0", "gate:70000", "a b", "[::1"])
def test_nonsense_jump_hosts_are_refused(text: str) -> None:
    """What is not user@host:port is named."""
    with pytest.raises(InvalidCredentials, match=r"user@host:port"):
        parse_jump(text)


def test_secrets_do_not_show(
    sshd: Sshd, login_key: KeyPair, caplog: pytest.LogCaptureFixture
) -> None:
    """No line of the key is in any repr, error or log, at the most talkative level."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="unshim.ssh.wire")
    made = settings(sshd, login_key)
    canaries = [line for line in login_key.private.splitlines() if "KEY-----" not in line]
    assert canaries
    connector = SshConnector(made)
    assert works(connector)
    seen = [repr(made), str(made), repr(connector), repr(vars(connector)), f"{made.private_key}"]
    for server_settings in (
        settings(sshd, login_key, known_hosts="bad"),
        settings(sshd, login_key, private_key=Secret(login_key.private[:-60])),
        settings(sshd, login_key, certificate="nonsense"),
        settings(sshd, login_key, port=free_port()),
    ):
        with pytest.raises(UnshimError) as caught:
            works(SshConnector(server_settings))
        seen += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
    assert "userauth is OK" in caplog.text  # paramiko's own words
    seen.append(caplog.text)
    assert not [c for c in canaries for text in seen if c in text]


def test_a_secret_is_not_copied_out_of_the_process() -> None:
    """Pickling would write it down; copying is refused by the same door."""
    for escape in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError):
            escape(Secret("canary"))
