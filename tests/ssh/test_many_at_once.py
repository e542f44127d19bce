"""Many logins to one sshd at the same time, as through a jump host."""

from __future__ import annotations

import socketserver
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.ssh.conftest import Connect, KeyPair, Sshd, Sshds, settings
from unshim.errors import NodeUnreachable
from unshim.ssh import SshConnector
from unshim.ssh import connector as connector_module


def test_an_sshd_that_turns_most_away_lets_all_in_at_last(sshds: Sshds, connector: Connect) -> None:
    """MaxStartups 1: whoever comes while another logs in is turned away, and comes back."""
    made = connector(sshds.start("MaxStartups 1"))

    def log_in(_: int) -> bool:
        shell = made.connect("127.0.0.1", node="worker-1")
        try:
            return shell.run("echo hello", timeout=30).out == "hello\n"
        finally:
            shell.close()

    with ThreadPoolExecutor(max_workers=20) as pool:
        assert list(pool.map(log_in, range(20))) == [True] * 20
    assert made.stats.failures > 0  # some were turned away, or this shows nothing
    assert made.stats.connections == 20


class Full(socketserver.BaseRequestHandler):
    """What an sshd with MaxStartups logins under way says to the next one."""

    def handle(self) -> None:
        self.request.sendall(b"Exceeded MaxStartups\r\n")


def test_an_sshd_that_turns_all_away_is_given_up(
    sshd: Sshd, login_key: KeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The patience has an end, and the error says what the sshd did."""
    monkeypatch.setattr(connector_module, "TURNED_AWAY_SECONDS", 1.0)
    with socketserver.TCPServer(("127.0.0.1", 0), Full) as full:
        threading.Thread(target=full.serve_forever, args=(0.02,), daemon=True).start()
        made = SshConnector(settings(sshd, login_key, port=full.server_address[1]))
        with pytest.raises(NodeUnreachable, match="turned us away"):
            made.connect("127.0.0.1", node="worker-1")
        full.shutdown()
    assert made.stats.failures > 1
