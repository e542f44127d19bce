"""Progress of one run -> the status of its NodeMigration: a projection, never read back.

(The previous status is looked at for one thing only: a condition whose status did not change keeps
its lastTransitionTime, as the Kubernetes API conventions ask.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from unshim.core.decide import Action, Result

MAX_FINDINGS = 50  # one status must stay far below etcd's 1.5 MB
MAX_TEXT = 1024

PHASES: Mapping[Action, str] = {
    Action.AUDIT: "Auditing",
    Action.STAGE: "Staging",
    Action.CORDON: "Cordoned",
    Action.DRAIN: "Draining",
    Action.SWITCH: "Switching",
    Action.AWAIT_SWITCH: "Switching",
    Action.VERIFY: "Verifying",
    Action.CONFIRM: "Verifying",
    Action.ANNOTATE: "Confirmed",
    Action.ROLL_BACK: "RollingBack",
    Action.REOPEN: "RollingBack",
    Action.AWAIT_ROLLBACK: "RollingBack",
    Action.PROVE_RESTORED: "RollingBack",
    Action.RESTORE_ANNOTATION: "RollingBack",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run stands. `finished` means that no further tick is needed."""

    run: str
    node: str
    phase: str
    step: str = ""
    reason: str = ""
    message: str = ""
    runtime: str = ""
    result: Result | None = None
    reached: frozenset[str] = frozenset()  # of Audited, Drained, Switched, Verified
    findings: tuple[Mapping[str, str], ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    plan: tuple[Mapping[str, str], ...] = ()
    report: str = ""  # "namespace/name" of the ConfigMap with the whole report
    report_error: str = ""  # why there is none
    drain: Mapping[str, Any] | None = None
    checks: tuple[Mapping[str, Any], ...] = ()
    delay: float = 1.0  # seconds until the next tick makes sense

    @property
    def finished(self) -> bool:
        return self.result is not None


def phase(action: Action, verdict: str, result: Result | None) -> str:
    """The word people see for what is being done now."""
    if result is not None:
        return "Audited" if result is Result.AUDITED else result.value
    if action is Action.UNCORDON:
        return "RollingBack" if verdict.startswith("rolled-back") else "Confirmed"
    return PHASES.get(action, "Pending")


def render(
    progress: Progress, previous: Mapping[str, Any], generation: int, now: datetime
) -> dict[str, Any]:
    """The status object, complete; None removes a field in a merge patch."""
    stamp = _time(now)
    finished = stamp if progress.finished else None
    return {
        "observedGeneration": generation,
        "run": progress.run,
        "node": progress.node,
        "phase": progress.phase,
        "step": progress.step,
        "reason": progress.reason,
        "message": _bounded(progress.message),
        "runtime": progress.runtime,
        "startedAt": previous.get("startedAt") or stamp,
        "finishedAt": (previous.get("finishedAt") or finished) if progress.finished else None,
        "drain": dict(progress.drain) if progress.drain else None,
        "checks": [dict(c) for c in progress.checks],
        "findings": [_short(f) for f in progress.findings[:MAX_FINDINGS]],
        "findingsLeftOut": max(len(progress.findings) - MAX_FINDINGS, 0) or None,
        "findingCounts": dict(progress.counts) or None,
        "plan": [dict(p) for p in progress.plan],
        "report": progress.report,
        "reportError": _bounded(progress.report_error),
        "conditions": _conditions(progress, previous, generation, stamp),
    }


def _conditions(
    progress: Progress, previous: Mapping[str, Any], generation: int, stamp: str
) -> list[dict[str, Any]]:
    old = {c.get("type"): c for c in previous.get("conditions") or []}
    wanted = [_reached(progress, kind) for kind in ("Audited", "Drained", "Switched", "Verified")]
    wanted.append(_succeeded(progress))
    return [_dated(condition, old, generation, stamp) for condition in wanted]


def _reached(progress: Progress, kind: str) -> dict[str, Any]:
    reached = kind in progress.reached
    status = "True" if reached else ("False" if progress.finished else "Unknown")
    return {
        "type": kind,
        "status": status,
        "reason": kind if reached else ("NotReached" if progress.finished else "Pending"),
        "message": "",
    }


def _succeeded(progress: Progress) -> dict[str, Any]:
    clear = progress.result is Result.AUDITED and progress.reason != "Blocked"
    good = progress.result is Result.SUCCEEDED or clear
    status = "Unknown" if progress.result is None else ("True" if good else "False")
    reason = progress.reason or progress.phase
    return {
        "type": "Succeeded",
        "status": status,
        "reason": reason,
        "message": _bounded(progress.message),
    }


def _dated(
    condition: dict[str, Any], old: Mapping[Any, Mapping[str, Any]], generation: int, stamp: str
) -> dict[str, Any]:
    before = old.get(condition["type"])
    same = before is not None and before.get("status") == condition["status"]
    since = before.get("lastTransitionTime", stamp) if same and before is not None else stamp
    return {**condition, "observedGeneration": generation, "lastTransitionTime": since}


def differs(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether writing `new` over `old` would change anything a person can see."""
    return any(_plain(new[key]) != _plain(old.get(key)) for key in new)


def _plain(value: object) -> object:
    """Absent, None and empty are the same to a reader."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [dict(v) if isinstance(v, Mapping) else v for v in value]
    return value or None


def _short(finding: Mapping[str, str]) -> dict[str, str]:
    return {key: _bounded(text) for key, text in finding.items()}


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _time(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
