"""Whom we talk to: nothing but a line of known_hosts makes a host trusted."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.ssh.conftest import Sshd, Sshds, accepted, jump_through, make_key, refusal
from unshim.ssh import SshConnector

Connect = Callable[..., SshConnector]


def other_line(tmp_path: Path, pattern: str = "elsewhere") -> str:
    words = make_key(tmp_path, "other").public.split()
    return f"{pattern} {words[0]} {words[1]}\n"


def test_an_unknown_host_is_refused_with_what_to_do(
    sshd: Sshd, connector: Connect, tmp_path: Path
) -> None:
    """The refusal names node, address and fingerprint, and gives the line to add after a look."""
    text = refusal(connector(sshd, known_hosts=other_line(tmp_path)))
    assert "Node worker-1 (127.0.0.1 port" in text
    assert sshd.host_key.fingerprint in text
    assert "console (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub)" in text
    assert sshd.line().strip() in text
    assert "Nothing was changed" in text


def test_the_line_that_a_refusal_offers_is_the_right_one(
    sshd: Sshd, connector: Connect, tmp_path: Path
) -> None:
    """Adding exactly the offered line makes the host known."""
    text = refusal(connector(sshd, known_hosts=other_line(tmp_path)))
    assert accepted(connector(sshd, known_hosts=text.rpartition("add to known_hosts: ")[2]))


def test_nothing_is_learned_from_a_refusal(sshd: Sshd, connector: Connect, tmp_path: Path) -> None:
    """A second try is refused like the first: there is no trust on first use."""
    shared = connector(sshd, known_hosts=other_line(tmp_path))
    refusal(shared)
    refusal(shared)
    assert shared.stats.connections == 0


def test_a_changed_key_is_refused_and_said_to_have_changed(
    sshd: Sshd, connector: Connect, tmp_path: Path
) -> None:
    """Another key of the same type: both fingerprints and the line to look at are named."""
    words = (other := make_key(tmp_path, "old")).public.split()
    known = f"# comment\n[127.0.0.1]:{sshd.port} {words[0]} {words[1]}\n"
    text = refusal(connector(sshd, known_hosts=known))
    assert "has changed" in text
    assert other.fingerprint in text
    assert sshd.host_key.fingerprint in text
    assert "line 2" in text


def test_a_key_known_under_the_node_s_name_is_enough(sshd: Sshd, connector: Connect) -> None:
    """known_hosts may name the Node instead of its address."""
    assert accepted(connector(sshd, known_hosts=sshd.line(host="worker-1")))


def test_a_name_without_a_port_serves_any_port(sshd: Sshd, connector: Connect) -> None:
    """As with ssh(1), the bare name counts where no line names the port."""
    words = sshd.host_key.public.split()
    assert accepted(connector(sshd, known_hosts=f"127.0.0.1 {words[0]} {words[1]}\n"))


def test_a_line_for_the_port_beats_the_bare_name(
    sshd: Sshd, connector: Connect, tmp_path: Path
) -> None:
    """Another service's key under the bare name does not disturb, nor does it help."""
    known = other_line(tmp_path, "127.0.0.1") + sshd.line()
    assert accepted(connector(sshd, known_hosts=known))


def test_address_and_name_must_not_contradict(
    sshd: Sshd, connector: Connect, tmp_path: Path
) -> None:
    """An address that leads to another node's machine is noticed by that node's name."""
    words = make_key(tmp_path, "worker-2").public.split()
    known = sshd.line() + f"[worker-2]:{sshd.port} {words[0]} {words[1]}\n"
    assert accepted(connector(sshd, known_hosts=known), node="worker-1")
    text = refusal(connector(sshd, known_hosts=known), node="worker-2")
    assert "for worker-2" in text


def test_hashed_names_are_understood(sshd: Sshd, connector: Connect, tmp_path: Path) -> None:
    """Lines hashed by ssh-keygen -H are found."""
    path = tmp_path / "known_hosts"
    path.write_text(sshd.line())
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", path], check=True, capture_output=True)
    hashed = path.read_text()
    assert hashed.startswith("|1|")
    assert accepted(connector(sshd, known_hosts=hashed))


def test_patterns_and_their_negation(sshd: Sshd, connector: Connect) -> None:
    """`*` and `?` match, and a negated pattern takes back what they gave."""
    words = " ".join(sshd.host_key.public.split()[:2])
    assert accepted(connector(sshd, known_hosts=f"127.0.?.* {words}\n"))
    refusal(connector(sshd, known_hosts=f"127.0.?.*,!127.0.0.1 {words}\n"))


def test_a_revoked_key_is_refused_though_it_is_known(sshd: Sshd, connector: Connect) -> None:
    """@revoked beats every line that vouches for the same key."""
    words = " ".join(sshd.host_key.public.split()[:2])
    text = refusal(connector(sshd, known_hosts=f"{sshd.line()}@revoked * {words}\n"))
    assert "line 2" in text
    assert "revokes" in text


def test_the_key_type_that_we_know_is_asked_for(
    sshds: Sshds, connector: Connect, tmp_path: Path
) -> None:
    """A host with several keys shows the one that known_hosts has, be it the least preferred."""
    rsa, ecdsa = make_key(tmp_path, "rsa", "rsa"), make_key(tmp_path, "ecdsa", "ecdsa")
    server = sshds.start(f"HostKey {rsa.path}", f"HostKey {ecdsa.path}")
    for key in (rsa, ecdsa, server.host_key):
        assert accepted(connector(server, known_hosts=server.line(key)))


def test_a_known_host_with_a_new_type_of_key_is_still_refused(
    sshds: Sshds, connector: Connect, tmp_path: Path
) -> None:
    """Knowing a host's RSA key says nothing about the Ed25519 key it shows now."""
    server = sshds.start()
    text = refusal(connector(server, known_hosts=server.line(make_key(tmp_path, "rsa", "rsa"))))
    assert "only keys of other types" in text


def test_a_jump_host_is_checked_as_strictly(
    sshds: Sshds, connector: Connect, tmp_path: Path
) -> None:
    """An unknown or changed jump host is refused before anything is sent through it."""
    gate, node = sshds.start(), sshds.start()
    both = gate.line() + node.line()
    assert accepted(connector(node, jump=jump_through(gate), known_hosts=both))
    logins = node.log.read_text().count("Accepted publickey")
    text = refusal(connector(node, jump=jump_through(gate), known_hosts=node.line()))
    assert text.startswith("Jump host of worker-1 (127.0.0.1 port")
    changed = gate.line(make_key(tmp_path, "old")) + node.line()
    text = refusal(connector(node, jump=jump_through(gate), known_hosts=changed))
    assert "Jump host of worker-1" in text
    assert "has changed" in text
    assert node.log.read_text().count("Accepted publickey") == logins


def test_a_node_behind_a_jump_host_is_checked_too(sshds: Sshds, connector: Connect) -> None:
    """The jump host's word is not enough for the node's key."""
    gate, node = sshds.start(), sshds.start()
    text = refusal(connector(node, jump=jump_through(gate), known_hosts=gate.line()))
    assert text.startswith("Node worker-1")


def test_no_host_key_is_accepted_by_policy() -> None:
    """The adapter has no policy that could accept a key: paramiko's SSHClient is not used."""
    import unshim.ssh

    folder = Path(unshim.ssh.__file__).parent
    texts = "".join(path.read_text() for path in folder.glob("*.py"))
    for word in ("SSHClient", "AutoAdd", "WarningPolicy", "MissingHostKeyPolicy", "load_system"):
        assert word not in texts
    assert texts.count(".start_client(") == 1  # followed by host_keys.check, see connector.py


def test_a_refusal_is_quick(sshd: Sshd, connector: Connect, tmp_path: Path) -> None:
    """A refused key is not tried again."""
    before = time.monotonic()
    refusal(connector(sshd, known_hosts=other_line(tmp_path)))
    assert time.monotonic() - before < 1
