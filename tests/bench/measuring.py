"""One command measured from outside: time, memory, and how busy the whole machine was."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one process and the children it waited for. `busy` is what all of the machine's processors
    worked in that time, others' programs included; each processor has `wall` seconds."""

    code: int
    wall: float  # seconds
    cpu: float  # seconds
    rss: float  # MB at the highest, of one process
    busy: float  # seconds


def measured(argv: Sequence[str], env: Mapping[str, str], out: Path, errors: Path) -> Cost:
    """Run to the end; its output goes to files, so that reading it costs nobody anything."""
    before, began = _busy(), time.monotonic()
    with out.open("wb") as stdout, errors.open("wb") as stderr:
        process = subprocess.Popen(
            list(argv), stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=dict(env)
        )
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(
        code=process.returncode,
        wall=time.monotonic() - began,
        cpu=used.ru_utime + used.ru_stime,
        rss=used.ru_maxrss * 1024 / 1e6,
        busy=_busy() - before,
    )


def _busy() -> float:
    """Seconds that the processors have worked since boot (/proc/stat without idle and iowait)."""
    fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")
