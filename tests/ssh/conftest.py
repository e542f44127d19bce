"""Real sshd processes on loopback, each with its own configuration and keys."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from unshim.errors import HostKeyRejected
from unshim.ssh import Jump, Secret, SshConnector, SshSettings

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin:/usr/local/sbin")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without sshd, or not as root, a login to oneself is not possible."""
    if SSHD and os.geteuid() == 0:
        return
    for item in items:
        if {"sshd", "sshds"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.skip(reason="needs sshd and root"))


@dataclass
class KeyPair:
    """A key made by ssh-keygen."""

    path: Path

    @property
    def private(self) -> str:
        return self.path.read_text()

    @property
    def public(self) -> str:
        return self.path.with_suffix(".pub").read_text()

    @property
    def certificate(self) -> str:
        return self.path.with_name(f"{self.path.name}-cert.pub").read_text()

    @property
    def fingerprint(self) -> str:
        out = subprocess.run(
            ["ssh-keygen", "-lf", self.path], check=True, capture_output=True, text=True
        )
        return out.stdout.split()[1]


def make_key(folder: Path, name: str, kind: str = "ed25519", *options: str) -> KeyPair:
    path = folder / name
    run = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "test", "-f", str(path), *options]
    subprocess.run(run, check=True)
    return KeyPair(path)


def sign(authority: KeyPair, key: KeyPair, *options: str) -> str:
    """Issue a certificate (`-h` among the options: for a host) and return its text."""
    run = ["ssh-keygen", "-q", "-s", str(authority.path), "-I", "test", *options]
    subprocess.run([*run, str(key.path.with_suffix(".pub"))], check=True, stderr=subprocess.DEVNULL)
    return key.certificate


@dataclass
class Sshd:
    """One running sshd."""

    port: int
    host_key: KeyPair
    process: subprocess.Popen[bytes]
    log: Path
    folder: Path
    address: str = "127.0.0.1"

    def line(self, key: KeyPair | None = None, host: str = "127.0.0.1") -> str:
        """The known_hosts line for it."""
        words = (key or self.host_key).public.split()
        return f"[{host}]:{self.port} {words[0]} {words[1]}\n"

    def sessions(self) -> list[int]:
        """Process ids of the sshd children that serve connections."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(word) for word in path.read_text().split()]

    def kill_sessions(self) -> None:
        """The connections are lost, as if the network or sshd itself had died."""
        for pid in self.sessions():
            os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=10)


@dataclass
class Sshds:
    """Starts sshds and stops all of them at the end."""

    folder: Path
    login_key: KeyPair
    running: list[Sshd] = field(default_factory=list)

    def start(
        self,
        *lines: str,
        host_key: KeyPair | None = None,
        launch: tuple[str, ...] = (),
        authorized: str | None = None,
        address: str = "127.0.0.1",
    ) -> Sshd:
        """Start one; `lines` are added to its configuration, `launch` stands before its command."""
        assert SSHD is not None
        number = len(self.running)
        folder = self.folder / f"sshd{number}"
        folder.mkdir()
        host_key = host_key or make_key(folder, "host_key")
        keys = folder / "authorized_keys"
        keys.write_text(self.login_key.public if authorized is None else authorized)
        port = free_port()
        config = folder / "sshd_config"
        config.write_text(
            "\n".join(
                [
                    *lines,
                    f"Port {port}",
                    f"ListenAddress {address}",
                    f"HostKey {host_key.path}",
                    f"AuthorizedKeysFile {keys}",
                    "StrictModes no",
                    "UsePAM no",
                    "PasswordAuthentication no",
                    "PermitRootLogin yes",
                    f"PidFile {folder}/pid",
                    "LogLevel VERBOSE",
                    "",
                ]
            )
        )
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        log = folder / "log"
        process = subprocess.Popen(
            [*launch, SSHD, "-D", "-f", str(config), "-E", str(log)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        server = Sshd(port, host_key, process, log, folder, address)
        self.running.append(server)
        wait_for_port(server)
        return server


def own_etc(folder: Path, **texts: str) -> tuple[str, ...]:
    """What to put before a command so that it sees these files of /etc instead of the machine's."""
    modes = {"passwd": 0o644, "shadow": 0o600, "sudoers": 0o440}
    for name, text in texts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(modes[name])
    binds = "".join(f"mount --bind {folder}/{name} /etc/{name}; " for name in texts)
    return ("unshare", "-m", "sh", "-c", f'{binds}exec "$@"', "sh")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for_port(server: Sshd) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        assert server.process.poll() is None, server.log.read_text()
        with socket.socket() as sock:
            if sock.connect_ex((server.address, server.port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"sshd did not start: {server.log.read_text()}")


@pytest.fixture(scope="session")
def login_key(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return make_key(tmp_path_factory.mktemp("login"), "id")


@pytest.fixture
def sshds(tmp_path: Path, login_key: KeyPair) -> Iterator[Sshds]:
    started = Sshds(tmp_path, login_key)
    yield started
    for server in started.running:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory, login_key: KeyPair) -> Iterator[Sshd]:
    """One plain sshd that a module's tests share."""
    started = Sshds(tmp_path_factory.mktemp("shared"), login_key)
    yield started.start()
    for server in started.running:
        server.stop()


Connect = Callable[..., SshConnector]


@pytest.fixture
def connector(login_key: KeyPair) -> Connect:
    """Makes connectors for a server; keyword arguments replace settings."""

    def make(server: Sshd, **changes: object) -> SshConnector:
        return SshConnector(settings(server, login_key, **changes))

    return make


def settings(server: Sshd, key: KeyPair, **changes: object) -> SshSettings:
    values: dict[str, object] = {
        "private_key": Secret(key.private),
        "known_hosts": server.line(),
        "port": server.port,
        "connect_timeout": 5.0,
        **changes,
    }
    return SshSettings(**values)  # type: ignore[arg-type]


def jump_through(server: Sshd) -> Jump:
    return Jump(host="127.0.0.1", port=server.port)


def refusal(connector: SshConnector, node: str = "worker-1") -> str:
    with pytest.raises(HostKeyRejected) as caught:
        connector.connect("127.0.0.1", node=node)
    return str(caught.value)


def accepted(connector: SshConnector, node: str = "worker-1") -> bool:
    shell = connector.connect("127.0.0.1", node=node)
    try:
        return shell.run("echo in", timeout=5).out == "in\n"
    finally:
        shell.close()
