"""What one process remembers about one run between ticks. Losing it costs time, never safety."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from unshim.audit.finding import Finding
from unshim.core.decide import Action
from unshim.core.facts import NodeFacts
from unshim.core.objects import RunState
from unshim.core.options import Options
from unshim.core.plan import NodePlan
from unshim.core.status import Progress
from unshim.drain import Drain
from unshim.ports import Machine

Publish = Callable[[Progress], None]


@dataclass(slots=True, kw_only=True)
class Session:
    """One run in one process. `holder` names this process in the node's Lease.

    `migration` is the NodeMigration's name; a run from the command line has none.
    """

    run: str
    options: Options
    holder: str
    publish: Publish = field(default=lambda _: None)
    migration: str = ""
    go_back: str = ""  # why to roll back: a person's wish, or a failed action
    detail: str = ""  # the failed action's own words

    machine: Machine | None = None
    fresh_machine: bool = False  # the connection was opened after the switch
    token: int = 0
    lease_until: datetime | None = None
    state: RunState | None = None
    clock_offset: float = 0.0  # node's clock minus ours, seconds
    facts: NodeFacts | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)  # step name -> FileChanges
    audited: bool = False
    drained: bool = False
    drain: Drain | None = None
    canary_started: bool = False
    good_readings: int = 0
    proven: bool = False
    restored: bool = False
    restore_since: datetime | None = None
    reached: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()
    unpullable: Mapping[str, str] = field(default_factory=dict)  # image -> why, seen by the audit
    plan: NodePlan | None = None
    report: str = ""  # "namespace/name" of the ConfigMap that holds it
    report_error: str = ""  # why there is none
    checks: tuple[Mapping[str, Any], ...] = ()
    drain_status: Mapping[str, Any] | None = None
    last: Progress | None = None
    action: Action | None = None  # what was done last, so that a log line is written once
    events: set[str] = field(default_factory=set)

    @property
    def blocked(self) -> bool:
        """The audit found what refuses a run."""
        return any(finding.blocks for finding in self.findings)

    def disconnect(self) -> None:
        """Drop the connection; the next look opens a new one and reads the journal again."""
        if self.machine is not None:
            self.machine.close()
        self.machine, self.fresh_machine = None, False
