"""Runs scripts on one connection. See ports.NodeShell.

A script travels by standard input, so nothing of it is ever part of a command line. The remote
shell gets it as one braced group with empty standard input: it is read to its end and parsed before
anything of it runs. So no command can swallow the rest of the script, and half a script, from a
connection that broke, is a syntax error and not half an action.
"""

from __future__ import annotations

import contextlib
import math
import select
import threading
import time
from collections.abc import Callable, Sequence

import paramiko

from unshim.errors import AuthenticationFailed, NodeUnreachable
from unshim.ports import Completed
from unshim.ssh.stats import Stats

BEGAN = "unshim:began"
KILL_SECONDS = 5  # between SIGTERM and SIGKILL, on the node
MARGIN_SECONDS = 10  # for the answer to travel
LINGER_SECONDS = 1.0  # after the exit code, for output of processes that go on
CHUNK = 32_768
OUT_LIMITS = (16 << 20, 64 << 10)  # bytes kept of the beginning and of the end
ERR_LIMITS = (64 << 10, 64 << 10)

# Whatever the login shell is, sh takes over. The outer sh stays, to turn a death by signal into an
# exit code. `timeout` stands inside sudo: only root can end root's processes.
COMMAND = (
    "exec sh -c '"
    'if [ "$(id -u)" = 0 ]; then timeout -k %d %d sh -s; '
    "else sudo -n -- timeout -k %d %d sh -s; fi; exit $?'"
)
PROLOGUE = (
    "PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C\n"
    f"export PATH LC_ALL\necho {BEGAN}\n"
)


class SshShell:
    """See ports.NodeShell."""

    def __init__(
        self, links: Sequence[paramiko.Transport], label: str, user: str, stats: Stats
    ) -> None:
        """`links`: the node's own transport first, then those it runs through."""
        self._links, self._label, self._user, self._stats = tuple(links), label, user, stats

    def run(self, script: str, *, timeout: float) -> Completed:
        """See ports.NodeShell.run. Exit code 124 or 137: the node's own deadline ended it."""
        seconds = max(1, math.ceil(timeout))
        call: _Call | None = None
        why = ""
        with _Watchdog(seconds + KILL_SECONDS + MARGIN_SECONDS, self.close) as watchdog:
            try:
                with contextlib.closing(self._exec(seconds)) as channel:
                    call = _Call(channel, wrap(script))
                    call.converse()
            except (paramiko.SSHException, OSError, EOFError) as exc:
                why = str(exc).strip() or type(exc).__name__
        if why or call is None or call.code < 0:
            self.close()
            why = f"no answer for {seconds} s" if watchdog.expired else why
            raise NodeUnreachable(self._lost(why or "the connection was lost", call, seconds))
        self._stats.count(execs=1, sent=call.sent, received=call.received)
        return self._completed(call)

    def close(self) -> None:
        """Close the connection, and the jump host's. Safe to call twice."""
        for link in self._links:
            link.close()

    def _exec(self, seconds: int) -> paramiko.Channel:
        channel = self._links[0].open_session()
        channel.exec_command(COMMAND % (KILL_SECONDS, seconds, KILL_SECONDS, seconds))
        return channel

    def _completed(self, call: _Call) -> Completed:
        before, began, out = call.out.text().partition(f"{BEGAN}\n")
        err = call.err.text()
        if not began:
            raise AuthenticationFailed(self._not_root((err or before).strip()[-500:]))
        return Completed(code=call.code, out=out, err=err)

    def _lost(self, why: str, call: _Call | None, seconds: int) -> str:
        if call is None:  # the script travels after the command was accepted
            return (
                f"{self._label}: no script could be started: {why}. Nothing was changed; the next "
                "attempt opens a new connection."
            )
        return (
            f"{self._label}: {why} while a script ran. Its outcome is not known; on the node it "
            f"ends by itself within {seconds + KILL_SECONDS} s. The next attempt looks first."
        )

    def _not_root(self, said: str) -> str:
        what = f"{self._label}: user {self._user} could not start a root shell"
        if "sudo" in said:
            what += ": sudo asks for a password or does not allow it"
            advice = (
                f'Add on the node, with "visudo -f /etc/sudoers.d/unshim": '
                f"{self._user} ALL=(root) NOPASSWD: ALL (and Defaults:{self._user} !requiretty)"
            )
        else:
            advice = "See that the user has a normal login shell, and its key no forced command"
        return f"{what}. It said: {said or 'nothing'}. Nothing was changed. {advice}."


class _Watchdog:
    """Calls `close` when time is up: several waits inside paramiko know no deadline."""

    def __init__(self, seconds: float, close: Callable[[], None]) -> None:
        self.expired = False
        self._close = close
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> _Watchdog:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _expire(self) -> None:
        self.expired = True
        self._close()


class _Call:
    """One exec: sends its input and collects its output, both at once, until it ends."""

    def __init__(self, channel: paramiko.Channel, text: bytes) -> None:
        self._channel, self._text = channel, text
        self.sent = self.received = 0
        self._moved = time.monotonic()
        self.code = -1
        self.out, self.err = Bounded(*OUT_LIMITS), Bounded(*ERR_LIMITS)

    def converse(self) -> None:
        """Until the script ends or the connection does; then `code` stays -1."""
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        while not self._ended():
            if self._send() | self._receive():
                self._moved = time.monotonic()
            else:
                # Room for more input does not wake the poll: look again soon.
                poll.poll(20 if self._pending() else 500)
        self._channel.status_event.wait()
        self.code = self._channel.exit_status

    def _pending(self) -> bool:
        return self.sent < len(self._text) and not self._channel.closed

    def _ended(self) -> bool:
        """All output is read. A process left behind with our pipes open does not hold us up."""
        channel = self._channel
        # In this order: output that arrives between the two looks must not be missed.
        silent = time.monotonic() - self._moved > LINGER_SECONDS
        over = channel.closed or channel.eof_received or (channel.exit_status_ready() and silent)
        return bool(over) and not channel.recv_ready() and not channel.recv_stderr_ready()

    def _send(self) -> bool:
        if not self._pending() or not self._channel.send_ready():
            return False
        try:
            self.sent += self._channel.send(self._text[self.sent : self.sent + CHUNK])
            if not self._pending():
                self._channel.shutdown_write()
        except OSError:  # the other side has ended without reading it all: its output says why
            self.sent = len(self._text)
        return True

    def _receive(self) -> bool:
        moved = False
        if self._channel.recv_ready():
            moved = self._keep(self.out, self._channel.recv(CHUNK))
        if self._channel.recv_stderr_ready():
            moved = self._keep(self.err, self._channel.recv_stderr(CHUNK)) or moved
        return moved

    def _keep(self, where: Bounded, data: bytes) -> bool:
        self.received += len(data)
        where.add(data)
        return bool(data)


class Bounded:
    """Bytes of which the beginning and the end are kept, and a note of what is missing."""

    def __init__(self, head: int, tail: int) -> None:
        self._limits = head, tail
        self._head, self._tail = bytearray(), bytearray()
        self._dropped = 0

    def add(self, data: bytes) -> None:
        head, tail = self._limits
        room = head - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        surplus = len(self._tail) - tail
        if surplus > 0:
            del self._tail[:surplus]
            self._dropped += surplus

    def text(self) -> str:
        gap = f"\n[{self._dropped} bytes left out]\n".encode() if self._dropped else b""
        return bytes(self._head + gap + self._tail).decode(errors="replace")


def wrap(script: str) -> bytes:
    """The script as the remote shell gets it."""
    return f"{PROLOGUE}{{\n:\n{script}\n}} </dev/null\n".encode()
