"""The clock, the faults, and the effects of the operator, counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from unshim.errors import ClusterUnavailable, NodeUnreachable

START = datetime(2026, 1, 1, tzinfo=UTC)
DOCKERSHIM = "/var/run/dockershim.sock"


class Crash(BaseException):
    """The operator's process dies here (SIGKILL): nothing after this line runs."""


@dataclass
class FakeClock:
    """Time moves when somebody sleeps or acts; then due timers fire."""

    time: datetime = START
    timers: list[Callable[[], None]] = field(default_factory=list)

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=max(seconds, 0.01))
        for timer in list(self.timers):
            timer()


@dataclass
class Faults:
    """What goes wrong. Effects of the operator are numbered from 1 in the order they happen."""

    crash_before: int = 0
    crash_after: int = 0
    unreachable: frozenset[int] = frozenset()  # effects whose connection fails before acting
    lost_answer: frozenset[int] = frozenset()  # effects that act, but whose answer is lost
    fail_apply: str = ""  # step whose apply fails
    fail_undo: str = ""
    never_proven: bool = False
    never_drained: bool = False
    power_cut: int = 0  # the node loses power at this runner effect, and boots again


@dataclass
class World:
    """Cluster, node and clock with one set of faults."""

    faults: Faults = field(default_factory=Faults)
    clock: FakeClock = field(default_factory=FakeClock)
    effects: int = 0
    trace: list[str] = field(default_factory=list)
    hook: Callable[[int], None] = lambda _: None  # told each effect's number before it happens

    def effect(self, name: str, act: Callable[[], Any]) -> Any:
        """One effect of the operator on the outside world, with its faults."""
        self.effects += 1
        number = self.effects
        self.trace.append(name)
        self.hook(number)
        self.clock.sleep(0.05)
        if number == self.faults.crash_before:
            raise Crash(name)
        if number in self.faults.unreachable:
            raise _lost(name)
        result = act()
        if number == self.faults.crash_after:
            raise Crash(name)
        if number in self.faults.lost_answer:
            raise _lost(name)
        return result


def _lost(name: str) -> Exception:
    if name.startswith("node:"):
        return NodeUnreachable(f"lost in {name}")
    return ClusterUnavailable(f"lost in {name}")
