"""Scripts over a real sshd: what goes in, what comes out, and when it ends."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko
import pytest

from tests.ssh.conftest import KeyPair, Sshd, Sshds, own_etc, settings
from unshim.errors import AuthenticationFailed, NodeUnreachable
from unshim.ssh import SshConnector
from unshim.ssh.shell import Bounded, SshShell, wrap


@pytest.fixture
def shell(sshd: Sshd, connector: Callable[..., SshConnector]) -> Iterator[SshShell]:
    opened = connector(sshd).connect("127.0.0.1", node="worker-1")
    yield opened
    opened.close()


def test_code_out_and_err_come_back_apart(shell: SshShell) -> None:
    """Exit code, standard output and standard error are reported as they were."""
    done = shell.run("echo out; echo err >&2; exit 7", timeout=10)
    assert (done.code, done.out, done.err) == (7, "out\n", "err\n")


def test_one_connection_runs_many_scripts(shell: SshShell) -> None:
    """A connection serves any number of scripts, each in a fresh shell."""
    assert shell.run("left=behind", timeout=5).code == 0
    assert shell.run('echo "[$left]"', timeout=5).out == "[]\n"


def test_an_empty_script_succeeds(shell: SshShell) -> None:
    """Nothing to do is done."""
    assert shell.run("", timeout=5).code == 0


@pytest.mark.parametrize(
    "script",
    [
        "cat; echo after",
        "read line; echo after",
        "head -c 1 >/dev/null; echo after",
        "ssh-keygen -y -f /dev/stdin >/dev/null 2>&1; echo after",
        "sh -s; echo after",
    ],
)
def test_a_command_cannot_swallow_the_rest_of_the_script(shell: SshShell, script: str) -> None:
    """Commands that read standard input find it empty; the script goes on."""
    assert shell.run(script, timeout=5).out == "after\n"


def test_quotes_and_dollars_arrive_as_they_are(shell: SshShell) -> None:
    """Nothing of a script is interpreted before the shell that runs it."""
    script = "cat <<'EOF'\na 'b' \"c\" $d `e` \\f !g é\t*\nEOF\n"
    assert shell.run(script, timeout=5).out == "a 'b' \"c\" $d `e` \\f !g é\t*\n"


def test_binary_arrives_through_base64(shell: SshShell) -> None:
    """Every byte value survives the way there, in a here-document of half a megabyte."""
    blob = bytes(range(256)) * 2048
    text = base64.encodebytes(blob).decode()
    done = shell.run(f"base64 -d <<'EOF' | sha256sum\n{text}EOF\n", timeout=30)
    assert done.out.split()[0] == hashlib.sha256(blob).hexdigest()


@pytest.mark.parametrize("program", ["sh", "bash"])
def test_half_a_script_does_nothing(tmp_path: Path, program: str) -> None:
    """A script cut off by a broken connection is a syntax error: nothing of it runs."""
    mark = tmp_path / "mark"
    script = f"touch {mark}\nif true; then {{ touch {mark}; }}; fi\ncat <<'END'\n}}\nEND"
    whole = wrap(script)
    end = whole.rindex(b"}")
    for length in range(end):
        subprocess.run([program, "-s"], input=whole[:length], check=False, capture_output=True)
        assert not mark.exists(), whole[:length]
    subprocess.run([program, "-s"], input=whole, check=True, capture_output=True)
    assert mark.exists()


def test_a_syntax_error_is_the_script_s_own_failure(shell: SshShell) -> None:
    """A script that does not parse fails with the shell's words, and runs no line."""
    done = shell.run("echo begun\nif true; then", timeout=5)
    assert done.code != 0
    assert "begun" not in done.out
    assert "yntax error" in done.err


def test_the_node_s_deadline_ends_a_script(shell: SshShell) -> None:
    """What a script printed is kept, and 124 says that `timeout` ended it, children included."""
    before = time.monotonic()
    done = shell.run("echo early; sleep 600 & wait; sleep 600", timeout=1)
    assert time.monotonic() - before < 5
    assert (done.code, done.out) == (124, "early\n")


def test_a_script_deaf_to_sigterm_is_killed(shell: SshShell) -> None:
    """Five seconds after SIGTERM comes SIGKILL, seen as exit code 137."""
    done = shell.run("trap '' TERM; while :; do sleep 1; done", timeout=1)
    assert done.code == 137


def test_our_deadline_ends_a_call_that_gets_no_answer(
    sshd: Sshd, connector: Callable[..., SshConnector], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the node's own deadline does not answer either, ours raises: nothing waits for ever."""
    monkeypatch.setattr("unshim.ssh.shell.KILL_SECONDS", 0)
    monkeypatch.setattr("unshim.ssh.shell.MARGIN_SECONDS", 0.5)
    shell = connector(sshd).connect("127.0.0.1", node="worker-1")
    frozen = sshd.sessions()
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        before = time.monotonic()
        with pytest.raises(NodeUnreachable, match=r"Node worker-1: no .*"):
            shell.run("echo never", timeout=1)
        assert time.monotonic() - before < 4
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)


def test_a_lost_connection_is_said_at_once(sshd: Sshd, shell: SshShell) -> None:
    """Killing sshd's child in the middle of a script raises at once, and so does a retry."""

    threading.Timer(0.5, sshd.kill_sessions).start()
    before = time.monotonic()
    with pytest.raises(NodeUnreachable, match="outcome is not known"):
        shell.run("echo begun; sleep 30", timeout=60)
    assert time.monotonic() - before < 3
    with pytest.raises(
        NodeUnreachable, match=r"no script could be started: .* Nothing was changed"
    ):
        shell.run("echo again", timeout=5)


def test_big_output_is_bounded_and_both_ends_are_kept(shell: SshShell) -> None:
    """40 MB of output and of errors pass without a deadlock; the beginning and the end remain."""
    script = "echo first; yes 0123456789abcdef | head -c 40000000 | tee /dev/stderr; echo last"
    done = shell.run(script, timeout=120)
    assert done.code == 0
    assert done.out.startswith("first\n")
    assert done.out.endswith("last\n")
    assert "bytes left out]" in done.out
    assert len(done.out) < 17 << 20
    assert len(done.err) < 1 << 20


def test_bounded_keeps_everything_that_fits() -> None:
    """Nothing is lost or marked until head and tail are both full."""
    kept = Bounded(4, 3)
    for byte in b"abcdefg":
        kept.add(bytes([byte]))
    assert kept.text() == "abcdefg"
    kept.add(b"hi")
    assert kept.text() == "abcd\n[2 bytes left out]\nghi"


def test_a_process_left_behind_does_not_hold_us_up(shell: SshShell) -> None:
    """A background process that keeps the pipes open costs a second, not the whole deadline."""
    before = time.monotonic()
    done = shell.run("sleep 20 & echo done", timeout=30)
    assert (done.code, done.out) == (0, "done\n")
    assert time.monotonic() - before < 5


def test_output_before_the_script_is_not_taken_for_its_own(
    sshds: Sshds, login_key: KeyPair
) -> None:
    """A login shell's chatter does not end up in the output."""
    noisy = sshds.folder / "noisy"
    noisy.write_text('#!/bin/sh\necho Welcome to this machine\nexec /bin/sh "$@"\n')
    noisy.chmod(0o755)
    server = sshds.start(f'ForceCommand {noisy} -c "$SSH_ORIGINAL_COMMAND"')
    shell = SshConnector(settings(server, login_key)).connect("127.0.0.1", node="a")
    assert shell.run("echo mine", timeout=5).out == "mine\n"
    shell.close()


def test_a_forced_command_is_named_as_the_cause(sshds: Sshds, login_key: KeyPair) -> None:
    """Where the key may not start a shell, the error says so and shows what was said instead."""
    server = sshds.start("ForceCommand echo This account is not available; false")
    shell = SshConnector(settings(server, login_key)).connect("127.0.0.1", node="a")
    with pytest.raises(AuthenticationFailed, match=r"not available.*forced command"):
        shell.run("echo never", timeout=5)
    shell.close()


def test_twenty_connections_at_once(sshd: Sshd, connector: Callable[..., SshConnector]) -> None:
    """Twenty threads, one connection each, share a connector; the counters add up."""
    shared = connector(sshd, connect_timeout=20.0)

    def work(number: int) -> str:
        shell = shared.connect("127.0.0.1", node=f"worker-{number}")
        try:
            return "".join(shell.run(f"echo {number}", timeout=20).out for _ in range(5))
        finally:
            shell.close()

    with ThreadPoolExecutor(20) as pool:
        outs = list(pool.map(work, range(20)))
    assert outs == [f"{n}\n" * 5 for n in range(20)]
    assert (shared.stats.connections, shared.stats.execs) == (20, 100)
    assert shared.stats.received > 0


def test_an_exec_is_not_held_up_by_nagle(sshds: Sshds, login_key: KeyPair, tmp_path: Path) -> None:
    """Each exec saves the 40 ms that Nagle and delayed acknowledgements cost a plain socket.

    root's shell is a bare sh here: a bash reading its start-up files would hide the difference.
    """
    passwd = re.sub(r"(?m)^(root:.*):[^:]*$", r"\1:/bin/sh", Path("/etc/passwd").read_text())
    server = sshds.start(launch=own_etc(tmp_path, passwd=passwd))
    shell = SshConnector(settings(server, login_key)).connect("127.0.0.1", node="a")
    plain = paramiko.Transport(("127.0.0.1", server.port))
    plain.start_client(timeout=5)
    plain.auth_publickey("root", paramiko.Ed25519Key(filename=str(login_key.path)))

    def slow() -> None:
        channel = plain.open_session()
        channel.exec_command("true")
        channel.recv_exit_status()
        channel.close()

    ours = median(lambda: shell.run("true", timeout=5))
    theirs = median(slow)
    plain.close()
    shell.close()
    print(f"exec: ours {ours * 1000:.1f} ms, plain paramiko {theirs * 1000:.1f} ms")
    assert theirs - ours > 0.02


def median(call: Callable[[], object]) -> float:
    times = []
    for _ in range(15):
        before = time.perf_counter()
        call()
        times.append(time.perf_counter() - before)
    return statistics.median(times)
