"""Getting in: keys, certificates, sudo, jump hosts, and everything that can stand in the way."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ssh.conftest import (
    KeyPair,
    Sshd,
    Sshds,
    free_port,
    jump_through,
    make_key,
    settings,
    sign,
)
from unshim.errors import (
    AuthenticationFailed,
    HostKeyRejected,
    NodeUnreachable,
    UnshimError,
    UnsupportedNode,
)
from unshim.ssh import SshConnector

Connect = Callable[..., SshConnector]


def works(connector: SshConnector) -> bool:
    shell = connector.connect("127.0.0.1", node="worker-1")
    try:
        return shell.run("id -u", timeout=5).out == "0\n"
    finally:
        shell.close()


def test_a_foreign_key_is_refused_by_name(sshd: Sshd, tmp_path: Path) -> None:
    """The error names user, address and the key's fingerprint, and is not tried again."""
    stranger = make_key(tmp_path, "stranger")
    connector = SshConnector(settings(sshd, stranger))
    before = time.monotonic()
    with pytest.raises(AuthenticationFailed) as caught:
        connector.connect("127.0.0.1", node="worker-1")
    assert time.monotonic() - before < 3
    text = str(caught.value)
    assert "Node worker-1 (127.0.0.1 port" in text
    assert "user root" in text
    assert stranger.fingerprint in text
    assert "authorized_keys" in text


def test_a_second_factor_is_named(sshds: Sshds, connector: Connect) -> None:
    """A key that is accepted but not enough is told apart from a key that is refused."""
    made = connector(sshds.start("AuthenticationMethods publickey,publickey"))
    with pytest.raises(AuthenticationFailed, match="asks for more: publickey"):
        made.connect("127.0.0.1", node="worker-1")


@pytest.fixture
def authority(tmp_path: Path) -> KeyPair:
    return make_key(tmp_path, "user_ca")


def test_a_user_certificate_gets_in(sshds: Sshds, tmp_path: Path, authority: KeyPair) -> None:
    """A short-lived certificate is enough: the node knows the authority and not the key."""
    key = make_key(tmp_path, "id")
    certificate = sign(authority, key, "-n", "root", "-V", "+5m")
    server = sshds.start(f"TrustedUserCAKeys {authority.path}.pub", authorized="")
    with pytest.raises(AuthenticationFailed):
        works(SshConnector(settings(server, key)))
    assert works(SshConnector(settings(server, key, certificate=certificate)))


def test_a_certificate_for_another_user_is_refused(
    sshds: Sshds, tmp_path: Path, authority: KeyPair
) -> None:
    """The advice then is about the authority and the principal."""
    key = make_key(tmp_path, "id")
    certificate = sign(authority, key, "-n", "somebody")
    server = sshds.start(f"TrustedUserCAKeys {authority.path}.pub", authorized="")
    with pytest.raises(AuthenticationFailed, match="principal root"):
        works(SshConnector(settings(server, key, certificate=certificate)))


def test_a_jump_host_leads_to_the_node(sshds: Sshds, connector: Connect) -> None:
    """Two connections, counted as such; closing the shell closes both."""
    gate, node = sshds.start(), sshds.start()
    made = connector(node, jump=jump_through(gate), known_hosts=gate.line() + node.line())
    assert works(made)
    assert made.stats.connections == 2
    wait_until(lambda: not gate.sessions() and not node.sessions())


def test_a_jump_host_that_forbids_it_is_named(sshds: Sshds, connector: Connect) -> None:
    """A refusal to forward says through whom, and leaves no connection open."""
    gate, node = sshds.start("AllowTcpForwarding no"), sshds.start()
    made = connector(node, jump=jump_through(gate), known_hosts=gate.line() + node.line())
    with pytest.raises(NodeUnreachable, match=r"through the jump host 127\.0\.0\.1"):
        made.connect("127.0.0.1", node="worker-1")
    wait_until(lambda: not gate.sessions())


def test_losing_the_jump_host_is_losing_the_node(sshds: Sshds, connector: Connect) -> None:
    """A script on a node behind a jump host that dies ends with NodeUnreachable."""
    gate, node = sshds.start(), sshds.start()
    made = connector(node, jump=jump_through(gate), known_hosts=gate.line() + node.line())
    shell = made.connect("127.0.0.1", node="worker-1")
    threading.Timer(0.5, gate.kill_sessions).start()
    with pytest.raises(NodeUnreachable):
        shell.run("sleep 20", timeout=30)


def test_a_closed_port_is_tried_a_few_times(login_key: KeyPair, sshd: Sshd) -> None:
    """A refused connection is retried with a pause, a few times, and then said."""
    made = SshConnector(settings(sshd, login_key, port=free_port()))
    with pytest.raises(NodeUnreachable, match=r"cannot be reached: .*refused"):
        made.connect("127.0.0.1", node="worker-1")
    assert made.stats.failures == 4


def test_a_node_that_comes_back_is_reached_by_a_retry(sshds: Sshds, connector: Connect) -> None:
    """A moment of absence, such as a restart of sshd, costs nothing but time."""
    server = sshds.start()
    made = connector(server)
    server.process.send_signal(19)  # SIGSTOP: the kernel accepts, nobody answers
    threading.Timer(1.0, lambda: server.process.send_signal(18)).start()
    assert works(made)


def test_a_name_that_does_not_resolve(login_key: KeyPair, sshd: Sshd) -> None:
    """An address that does not exist is said to have none."""
    made = SshConnector(settings(sshd, login_key))
    with pytest.raises(NodeUnreachable, match="has no address"):
        made.connect("no-such-host.invalid", node="worker-1")


@contextlib.contextmanager
def listener(greeting: bytes) -> Iterator[int]:
    """A server that greets and then says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    held.append(server.accept()[0])
                    held[-1].sendall(greeting)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield int(server.getsockname()[1])
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=5)
            for sock in held:
                sock.close()


@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-Silence\r\n", b"HTTP/1.1 400 No\r\n\r\n" * 99])
def test_a_port_that_does_not_speak_ssh_is_given_up(
    sshd: Sshd, login_key: KeyPair, greeting: bytes
) -> None:
    """Silence, silence after the banner, and another protocol: bounded in time, then said."""
    with listener(greeting) as port:
        made = SshConnector(settings(sshd, login_key, port=port, connect_timeout=1.0))
        before = time.monotonic()
        with pytest.raises(NodeUnreachable, match="Node worker-1"):
            made.connect("127.0.0.1", node="worker-1")
        assert time.monotonic() - before < 8


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("Ciphers aes128-cbc,3des-cbc", UnsupportedNode),
        ("MACs hmac-sha1,hmac-md5", UnsupportedNode),
        ("KexAlgorithms diffie-hellman-group14-sha1", UnsupportedNode),
    ],
)
def test_weak_algorithms_are_refused(
    sshds: Sshds, connector: Connect, line: str, error: type[UnshimError]
) -> None:
    """CBC, SHA-1 and MD5 are not spoken, even with a node that speaks nothing else."""
    with pytest.raises(error, match="Update its sshd"):
        connector(sshds.start(line)).connect("127.0.0.1", node="worker-1")


def test_a_host_key_that_needs_sha1_is_refused(
    sshds: Sshds, connector: Connect, tmp_path: Path
) -> None:
    """An RSA host key used with ssh-rsa (SHA-1) is no proof of anything."""
    key = make_key(tmp_path, "rsa", "rsa")
    server = sshds.start("HostKeyAlgorithms ssh-rsa", host_key=key)
    with pytest.raises(HostKeyRejected, match="no host key that is safe"):
        connector(server).connect("127.0.0.1", node="worker-1")


def test_our_sockets_send_at_once_and_notice_silence(sshd: Sshd, connector: Connect) -> None:
    """TCP_NODELAY, keepalive, and an upper bound on unacknowledged data are set."""
    shell = connector(sshd).connect("127.0.0.1", node="worker-1")
    sock = shell._links[0].sock  # the socket itself is the subject
    assert isinstance(sock, socket.socket)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
    shell.close()
    shell.close()


def test_paramiko_is_silent_unless_asked(
    sshd: Sshd, login_key: KeyPair, capfd: pytest.CaptureFixture[str]
) -> None:
    """paramiko's tracebacks on failed connections do not reach anybody's terminal."""
    with pytest.raises(NodeUnreachable), listener(b"") as port:
        SshConnector(settings(sshd, login_key, port=port, connect_timeout=0.3)).connect(
            "127.0.0.1", node="a"
        )
    assert capfd.readouterr() == ("", "")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_paramiko_lives_in_one_package() -> None:
    """Only unshim.ssh knows paramiko."""
    import unshim

    root = Path(unshim.__file__).parent
    users = {
        path.relative_to(root).parts[0]
        for path in root.rglob("*.py")
        if "import paramiko" in path.read_text() or "from paramiko" in path.read_text()
    }
    assert users == {"ssh"}


def test_a_network_that_swallows_everything_is_noticed(
    sshds: Sshds, login_key: KeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cable pulled in the middle of a script is noticed long before the script's deadline."""
    monkeypatch.setattr("unshim.ssh.connector.SILENCE_SECONDS", 2)
    monkeypatch.setattr("unshim.ssh.connector.KEEPALIVE_SECONDS", 1)
    name = f"unshim{os.getpid()}"
    with far_away(name) as (here, there):
        launch = ("ip", "netns", "exec", name)
        server = sshds.start(launch=launch, address=there)
        made = SshConnector(settings(server, login_key, known_hosts=server.line(host=there)))
        shell = made.connect(there, node="worker-1")
        threading.Timer(
            0.5, lambda: subprocess.run(["ip", "link", "set", here, "down"], check=True)
        ).start()
        before = time.monotonic()
        with pytest.raises(NodeUnreachable, match="outcome is not known"):
            shell.run("sleep 100", timeout=100)
        assert time.monotonic() - before < 20


@contextlib.contextmanager
def far_away(name: str) -> Iterator[tuple[str, str]]:
    """A network namespace at the other end of a cable: our end's name, its address."""
    here, subnet = f"{name[-10:]}v", f"198.18.{os.getpid() % 250}"
    commands = [
        f"ip netns add {name}",
        f"ip link add {here} type veth peer name eth0 netns {name}",
        f"ip addr add {subnet}.1/24 dev {here}",
        f"ip link set {here} up",
        f"ip -n {name} addr add {subnet}.2/24 dev eth0",
        f"ip -n {name} link set eth0 up",
        f"ip -n {name} link set lo up",
    ]
    try:
        for command in commands:
            subprocess.run(command.split(), check=True)
        yield here, f"{subnet}.2"
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)
        subprocess.run(["ip", "link", "del", here], check=False, stderr=subprocess.DEVNULL)
