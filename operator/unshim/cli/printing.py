"""What a person reads while a run moves: one line for each change, then the outcome."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import IO

from unshim.core.decide import Result
from unshim.core.objects import RunState
from unshim.core.status import Progress


class Printer:
    """Prints a line when phase, step or message changes."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._last: tuple[str, str, str] = ("", "", "")

    def show(self, progress: Progress) -> None:
        line = (progress.phase, progress.step, progress.message)
        if line == self._last:
            return
        self._last = line
        clock = datetime.now(UTC).strftime("%H:%M:%S")
        text = f"{clock}  {progress.node}  {progress.phase:<12} {progress.step:<20} "
        print((text + progress.message).rstrip(), file=self._out, flush=True)

    def finish(self, progress: Progress) -> None:
        if progress.result is not Result.AUDITED:  # its report has them
            self._findings(progress)
        print(f"\n{progress.phase} ({progress.reason}): {progress.message}", file=self._out)

    def _findings(self, progress: Progress) -> None:
        rows = [(f["severity"], f["rule"], f["subject"], f["message"]) for f in progress.findings]
        if rows:
            print("\nFindings:", file=self._out)
            table(self._out, ("SEVERITY", "RULE", "OBJECT", "MESSAGE"), rows)


class Counted:
    """`3 of 12 nodes read` on one line of a terminal, gone when the work is done.

    Elsewhere only `say` writes. Safe to share between threads.
    """

    def __init__(self, out: IO[str], total: int, what: str) -> None:
        self._out, self._total, self._what = out, total, what
        self._shown = out.isatty()
        self._done = 0
        self._guard = threading.Lock()

    def __enter__(self) -> Counted:
        with self._guard:
            self._draw()
        return self

    def __exit__(self, *_: object) -> None:
        with self._guard:
            self._clear()

    def one_more(self) -> None:
        with self._guard:
            self._done += 1
            self._draw()

    def say(self, text: str) -> None:
        """A line that stays."""
        with self._guard:
            self._clear()
            print(text, file=self._out, flush=True)
            self._draw()

    def _draw(self) -> None:
        if self._shown:
            text = f"\r{self._done} of {self._total} {self._what}"
            print(text, end="", file=self._out, flush=True)

    def _clear(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=self._out, flush=True)


def table(out: IO[str], head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns padded to their widest cell; the last one is left as it is."""
    lines = [head, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head) - 1)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=False)]
        print("  ".join([*cells, line[-1]]).rstrip(), file=out)


def journal(out: IO[str], state: RunState) -> None:
    for entry in state.journal.entries:
        at = datetime.fromtimestamp(entry.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
        text = f"{at}  {entry.event.value:<12} {entry.step:<24} {entry.detail}"
        print(text.rstrip(), file=out)
    if state.verdict:
        print(f"verdict: {state.verdict}", file=out)


def statuses(out: IO[str], bodies: Sequence[Mapping[str, object]]) -> None:
    rows = [_status_row(body) for body in bodies]
    table(out, ("NAME", "NODE", "PHASE", "STEP", "REASON", "RUNTIME", "MESSAGE"), rows)


def _status_row(body: Mapping[str, object]) -> tuple[str, ...]:
    spec, status = _part(body, "spec"), _part(body, "status")
    words = [str(status.get(key) or "-") for key in ("phase", "step", "reason", "runtime")]
    name = str(_part(body, "metadata").get("name", ""))
    return (name, str(spec.get("node", "")), *words, str(status.get("message") or ""))


def _part(body: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = body.get(key)
    return value if isinstance(value, Mapping) else {}
