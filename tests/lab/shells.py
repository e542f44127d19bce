"""Running commands: one way, with a deadline, and with the output in the error."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

_STARTED = time.monotonic()


def say(text: str) -> None:
    """A progress line with the seconds since the process began."""
    print(f"[lab {time.monotonic() - _STARTED:6.1f} s] {text}", flush=True)


def run(
    argv: Sequence[str], *, check: bool = True, timeout: float = 600, **more: Any
) -> subprocess.CompletedProcess[str]:
    """Run to the end. Raises RuntimeError with the command's own words."""
    done = subprocess.run(
        list(argv), text=True, capture_output=True, timeout=timeout, check=False, **more
    )
    if check and done.returncode != 0:
        tail = (done.stdout + done.stderr)[-3000:]
        raise RuntimeError(f"{' '.join(argv)[:300]}: exit code {done.returncode}\n{tail}")
    return done


def wait(condition: Callable[[], object], timeout: float, what: str, every: float = 0.1) -> None:
    """Wait for a condition. Raises TimeoutError saying what was waited for."""
    until = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"waited {timeout:.0f} s for {what}")
        time.sleep(every)
