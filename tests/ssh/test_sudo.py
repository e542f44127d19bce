"""Becoming root: with real sudo, in a mount namespace that has its own users and sudoers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ssh.conftest import (
    KeyPair,
    Sshd,
    Sshds,
    own_etc,
    settings,
)
from unshim.errors import (
    AuthenticationFailed,
)
from unshim.ssh import SshConnector

SUDO = shutil.which("sudo")


@pytest.fixture
def unprivileged(sshds: Sshds, tmp_path: Path) -> Callable[[str], Sshd]:
    """An sshd in a mount namespace of its own, where a user `ops` and some sudoers exist.

    The machine's own users and sudoers are not touched.
    """

    def start(sudoers: str) -> Sshd:
        launch = own_etc(
            tmp_path,
            passwd=f"{Path('/etc/passwd').read_text()}ops:x:61234:61234::/:/bin/sh\n",
            shadow=f"{Path('/etc/shadow').read_text()}ops:*:19000::::::\n",
            sudoers=sudoers,
        )
        return sshds.start(
            f"AuthorizedKeysCommand /bin/cat {sshds.login_key.path}.pub",
            "AuthorizedKeysCommandUser root",
            launch=launch,
        )

    return start


@pytest.mark.skipif(not SUDO, reason="needs sudo")
@pytest.mark.parametrize("defaults", ["", "Defaults use_pty\n"])
def test_sudo_makes_us_root(
    unprivileged: Callable[[str], Sshd], login_key: KeyPair, defaults: str
) -> None:
    """A user with passwordless sudo runs scripts as root; long ones and their deadline, too."""
    server = unprivileged(f"{defaults}root ALL=(ALL) ALL\nops ALL=(root) NOPASSWD: ALL\n")
    shell = SshConnector(settings(server, login_key, user="ops")).connect("127.0.0.1", node="a")
    assert shell.run("id -u; cat", timeout=5).out == "0\n"
    filler = "# filler\n" * 40_000
    assert shell.run(f"{filler}echo end", timeout=10).out == "end\n"
    assert shell.run("exit 3", timeout=5).code == 3
    assert shell.run("sleep 60", timeout=1).code == 124
    shell.close()


@pytest.mark.skipif(not SUDO, reason="needs sudo")
@pytest.mark.parametrize("rules", ["ops ALL=(root) ALL\n", "", "Defaults requiretty\n"])
def test_a_sudo_that_asks_is_named_with_the_line_to_add(
    unprivileged: Callable[[str], Sshd], login_key: KeyPair, rules: str
) -> None:
    """A password, no permission, a terminal: the error gives the sudoers line that is missing."""
    server = unprivileged(f"root ALL=(ALL) ALL\n{rules}")
    shell = SshConnector(settings(server, login_key, user="ops")).connect("127.0.0.1", node="w-1")
    with pytest.raises(AuthenticationFailed, match=r"ops ALL=\(root\) NOPASSWD: ALL") as caught:
        shell.run("touch /tmp/never", timeout=5)
    assert "Node w-1" in str(caught.value)
    assert "sudo" in str(caught.value)
    shell.close()
