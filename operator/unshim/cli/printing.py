"""What a person reads while a run moves: one line for each change, then the outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import IO

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
        self._findings(progress)
        self._plan(progress)
        print(f"\n{progress.phase} ({progress.reason}): {progress.message}", file=self._out)

    def _findings(self, progress: Progress) -> None:
        rows = [(f["severity"], f["rule"], f["subject"], f["message"]) for f in progress.findings]
        if rows:
            print("\nFindings:", file=self._out)
            table(self._out, ("SEVERITY", "RULE", "OBJECT", "MESSAGE"), rows)

    def _plan(self, progress: Progress) -> None:
        for entry in progress.plan:
            print(f"\n{entry['state']:>13}  {entry['step']}: {entry['summary']}", file=self._out)
            for line in entry["diff"].splitlines():
                print(f"               {line}", file=self._out)


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
