"""The brain: from what is known of one run, the one thing to do now. Pure; read this first.

A run goes forward until somebody creates the verdict on the node. `confirmed` leads to uncordon and
success, `rolled-back` to proof of the old state, uncordon and RolledBack. Starting again after any
crash is the same question asked once more, so resuming has no code of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from unshim.core.journal import Event, Journal
from unshim.core.objects import CRI_SOCKET_ANNOTATION, Node
from unshim.core.options import Options

CONTAINERD_SOCKET = "unix:///run/containerd/containerd.sock"


class Action(StrEnum):
    """What the engine can do."""

    AUDIT = "audit"
    STAGE = "stage"
    CORDON = "cordon"
    DRAIN = "drain"
    SWITCH = "switch"
    AWAIT_SWITCH = "await-switch"
    VERIFY = "verify"
    CONFIRM = "confirm"
    ANNOTATE = "annotate"
    UNCORDON = "uncordon"
    ROLL_BACK = "roll-back"
    REOPEN = "reopen"
    AWAIT_ROLLBACK = "await-rollback"
    PROVE_RESTORED = "prove-restored"
    RESTORE_ANNOTATION = "restore-annotation"
    FINISH = "finish"


class Result(StrEnum):
    """How a run ends. RolledBack: the node is as it was. Failed: a person is needed."""

    SUCCEEDED = "Succeeded"
    ROLLED_BACK = "RolledBack"
    FAILED = "Failed"
    REFUSED = "Refused"
    AUDITED = "Audited"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    action: Action
    reason: str = ""  # CamelCase; why we go back, or how it ended
    message: str = ""
    result: Result | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything a decision may look at. `node_now` is the node's clock, `now` ours."""

    run: str
    options: Options
    node: Node
    now: datetime
    journal: Journal = field(default_factory=Journal)
    verdict: str = ""  # "", "confirmed" or "rolled-back <reason>"
    node_now: int = 0  # seconds since 1970 on the node, when its journal was read
    old_cri_socket: str | None = None  # annotation before the run, from the bundle's meta
    audited: bool = False
    blocked: bool = False  # a dry run found blockers
    drained: bool = False
    proven: bool = False
    restored: bool = False
    go_back: str = ""  # reason for which a person or a failed action asked to roll back

    @property
    def stamped(self) -> bool:
        return self.node.stamp is not None and self.node.stamp.migration == self.run

    @property
    def armed(self) -> bool:
        return self.journal.has(Event.ARMED)


def decide(view: View) -> Decision:
    """The one thing to do now."""
    if view.verdict.startswith("rolled-back"):
        return _after_rollback(view)
    if view.verdict == "confirmed":
        return _after_confirm(view)
    if view.journal.has(Event.SWITCHED):
        return _before_verdict(view)
    if view.armed:
        return _do(Action.AWAIT_SWITCH)
    return _before_switch(view)


def _before_switch(view: View) -> Decision:
    """Nothing the running node uses has been changed yet."""
    if failed := view.journal.last(Event.FAILED):
        return _back("StepFailed", f"step {failed.step} failed while staging: {failed.detail}")
    if view.go_back and not view.journal.entries:
        return _leave(view)
    if view.go_back:
        return _back(view.go_back)
    if not view.audited and (view.options.dry_run or not view.journal.has(Event.STAGED)):
        return _do(Action.AUDIT)
    if view.options.dry_run:
        reason = "Blocked" if view.blocked else "NothingBlocks"
        return Decision(action=Action.FINISH, result=Result.AUDITED, reason=reason)
    if not view.journal.has(Event.STAGED):
        return _do(Action.STAGE)
    if not view.node.unschedulable:
        return _do(Action.CORDON)
    return _drain_or_switch(view)


def _drain_or_switch(view: View) -> Decision:
    if view.drained:
        return _do(Action.SWITCH)
    if drain_expired(view):
        limit = view.options.drain.timeout_seconds
        return _back("DrainTimedOut", f"the drain did not finish within {limit} s")
    return _do(Action.DRAIN)


def drain_expired(view: View) -> bool:
    """The limit counts from our cordon, or from the end of staging when the cordon was found."""
    limit = view.options.drain.timeout_seconds
    if view.stamped and view.node.stamp is not None:
        return view.now - view.node.stamp.at > timedelta(seconds=limit)
    staged = view.journal.last(Event.STAGED)
    return staged is not None and view.node_now - staged.at > limit


def _leave(view: View) -> Decision:
    """Go back before anything reached the node: give up our cordon, and that is all."""
    if view.stamped:
        return _do(Action.UNCORDON)
    return Decision(action=Action.FINISH, result=Result.ROLLED_BACK, reason=view.go_back)


def _before_verdict(view: View) -> Decision:
    """containerd serves on probation: confirm on proof, else go back."""
    if view.go_back or view.journal.has(Event.REOPENED):
        return _back(view.go_back or "RollbackRequested")
    if view.proven:
        return _do(Action.CONFIRM)
    if verify_expired(view):
        return _back("ProofTimedOut")
    return _do(Action.VERIFY)


def verify_expired(view: View) -> bool:
    switched = view.journal.last(Event.SWITCHED)
    limit = view.options.verify.timeout_seconds
    return switched is not None and view.node_now - switched.at > limit


def _after_confirm(view: View) -> Decision:
    if view.go_back:
        return _reopen(view)
    if not view.journal.ended:
        return _do(Action.CONFIRM)
    old = view.node.annotations.get(CRI_SOCKET_ANNOTATION)
    if old is not None and old != CONTAINERD_SOCKET:
        return _do(Action.ANNOTATE)
    if view.stamped:
        return _do(Action.UNCORDON)
    return Decision(action=Action.FINISH, result=Result.SUCCEEDED, reason="Migrated")


def _reopen(view: View) -> Decision:
    """A person wants a confirmed node back on Docker: its pods leave first."""
    if not view.node.unschedulable:
        return _do(Action.CORDON)
    return _do(Action.REOPEN if view.drained else Action.DRAIN)


def _after_rollback(view: View) -> Decision:
    reason = view.verdict.removeprefix("rolled-back").strip() or "RolledBack"
    if view.journal.stuck:
        return _failed("UndoFailed", view)
    if not view.journal.ended:
        return _do(Action.AWAIT_ROLLBACK, reason)
    if view.armed and not view.restored:
        return _do(Action.PROVE_RESTORED, reason)
    if view.armed and _annotation_differs(view):
        return _do(Action.RESTORE_ANNOTATION, reason)
    if view.stamped:
        return _do(Action.UNCORDON, reason)
    return Decision(action=Action.FINISH, result=Result.ROLLED_BACK, reason=reason)


def _annotation_differs(view: View) -> bool:
    return view.node.annotations.get(CRI_SOCKET_ANNOTATION) != view.old_cri_socket


def _failed(reason: str, view: View) -> Decision:
    last = view.journal.last(Event.UNDO_FAILED)
    detail = f"undo of step {last.step} failed: {last.detail}" if last else reason
    return Decision(action=Action.FINISH, result=Result.FAILED, reason=reason, message=detail)


def _back(reason: str, message: str = "") -> Decision:
    return Decision(action=Action.ROLL_BACK, reason=reason, message=message)


def _do(action: Action, reason: str = "") -> Decision:
    return Decision(action=action, reason=reason)
