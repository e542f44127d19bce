"""A node: a model of the runner and of what its steps leave behind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.fakes.world import World
from unshim.core.journal import Entry, Event, Journal
from unshim.core.objects import (
    RunState,
)
from unshim.errors import NodeUnreachable


@dataclass
class FakeNode:
    """The machine: a model of the runner and of what its steps leave behind."""

    world: World
    steps: tuple[tuple[str, str], ...] = ()  # (stage or switch, name), from the bundle
    applied: list[str] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    verdict: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
    environment: str = ""  # the bundle's variables
    dead_man: datetime | None = None
    token: int = 0
    runner_effects: int = 0
    unpullable: dict[str, str] = field(default_factory=dict)  # image -> why no registry gives it
    kept: frozenset[str] = frozenset()  # steps without undo: staged packages and images

    def __post_init__(self) -> None:
        self.world.clock.timers.append(self._tick)

    @property
    def runtime(self) -> str:
        changed = [s for s in self.applied if s not in self.kept]
        return "containerd://1.6.20" if changed else "docker://20.10.24"

    @property
    def as_it_was(self) -> bool:
        return not [s for s in self.applied if s not in self.kept]

    def write(self, event: Event, step: str = "", detail: str = "") -> None:
        at = int(self.world.clock.now().timestamp())
        entry = Entry(seq=len(self.entries), at=at, event=event, step=step, detail=detail)
        self.entries.append(entry)

    def has(self, event: Event) -> bool:
        return any(e.event is event for e in self.entries)

    def state(self) -> RunState:
        now = int(self.world.clock.now().timestamp())
        journal = Journal(entries=tuple(self.entries))
        return RunState(journal=journal, verdict=self.verdict, meta=self.meta, now=now)

    def upload(self, parts: Mapping[str, bytes]) -> None:
        if self.steps:
            return
        order = parts["order"].decode().splitlines()
        self.steps = tuple((line.split()[0], line.split()[1]) for line in order)
        self.kept = frozenset(name for stage, name in self.steps if stage == "stage")
        self.environment = parts["env"].decode()
        self.meta = json.loads(parts["meta.json"])

    def stage(self) -> None:
        if self.verdict or self.has(Event.STAGED):
            return
        if not self.has(Event.BEGIN):
            self.write(Event.BEGIN)
        try:
            if self._apply_all("stage"):
                self.write(Event.STAGED)
        except PowerCut:
            raise NodeUnreachable("the node lost power while staging") from None

    def switch(self, seconds: int) -> None:
        if self.verdict or self.has(Event.ARMED):
            return
        self.write(Event.ARMED)
        self.dead_man = self.world.clock.now() + timedelta(seconds=seconds)
        try:
            if self._apply_all("switch"):
                self.write(Event.SWITCHED)
            else:
                self.roll_back("StepFailed")
        except PowerCut:
            self.boot()

    def boot(self) -> None:
        """Power is back: the recovery unit runs before the kubelet."""
        if self.has(Event.ARMED) and not self.verdict:
            self.roll_back("Rebooted")
        elif self.verdict.startswith("rolled-back") and not self.has(Event.END):
            self._undo_all()

    def _apply_all(self, stage: str) -> bool:
        for kind, name in self.steps:
            if kind != stage or self._settled(name):
                continue
            self.write(Event.STARTED, name)
            self._power()
            if self.world.faults.fail_apply == name:
                self.write(Event.FAILED, name, "injected")
                return False
            self.applied.append(name)
            self._power()
            self.write(Event.DONE, name)
        return True

    def _settled(self, name: str) -> bool:
        return any(e.step == name and e.event is Event.DONE for e in self.entries)

    def _power(self) -> None:
        self.runner_effects += 1
        if self.runner_effects == self.world.faults.power_cut:
            raise PowerCut

    def confirm(self) -> None:
        if not self.verdict:
            self.verdict = "confirmed"
        if self.verdict == "confirmed" and not self.has(Event.CONFIRMED):
            self.dead_man = None
            self.write(Event.CONFIRMED)
            self.write(Event.END)

    def roll_back(self, reason: str) -> None:
        if not self.verdict:
            self.verdict = f"rolled-back {reason}"
        if self.verdict == "confirmed" or (self.entries and self.entries[-1].event is Event.END):
            return
        self.dead_man = None
        self.write(Event.ROLLBACK, detail=reason)
        try:
            self._undo_all()
        except PowerCut:
            self.boot()

    def reopen(self, reason: str) -> None:
        if self.verdict != "confirmed":
            return
        self.verdict = ""
        self.write(Event.REOPENED, detail=reason)
        self.roll_back(reason)

    def _undo_all(self) -> None:
        for name in reversed([n for _, n in self.steps if n not in self.kept]):
            touched = [e for e in self.entries if e.step == name]
            if not touched or touched[-1].event is Event.UNDONE:
                continue
            if self.world.faults.fail_undo == name:
                self.write(Event.UNDO_FAILED, name, "injected")
                return
            self._power()
            if name in self.applied:
                self.applied.remove(name)
            self.write(Event.UNDONE, name)
        self.write(Event.END)

    def _tick(self) -> None:
        if self.dead_man and self.world.clock.now() >= self.dead_man and not self.verdict:
            self.roll_back("DeadMan")


class PowerCut(Exception):
    """The node loses power inside the runner."""
