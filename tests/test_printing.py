"""Progress on a terminal: there while it is wanted, gone afterwards, and never in a pipe."""

from __future__ import annotations

import io

from unshim.cli.printing import Counted


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work(out: io.StringIO) -> str:
    with Counted(out, 2, "nodes read") as counted:
        counted.one_more()
        counted.say("w2 was not read")
        counted.one_more()
    return out.getvalue()


def test_a_terminal_shows_how_far_it_is() -> None:
    """One line that is drawn over; what stays has a line of its own."""
    text = work(Terminal())
    assert "\r0 of 2 nodes read\r1 of 2 nodes read\r\x1b[Kw2 was not read\n" in text
    assert text.endswith("\r2 of 2 nodes read\r\x1b[K")


def test_a_pipe_gets_only_what_stays() -> None:
    """A log file holds no half lines."""
    assert work(io.StringIO()) == "w2 was not read\n"
