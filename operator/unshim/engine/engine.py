"""One tick of one run: look, decide, act, publish, until something must be waited for.

The order of effects is decided in `core.decide`; this module only carries decisions out and turns
errors into the next decision. Nothing is remembered here that the node or the API does not know.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from unshim.audit.finding import counts
from unshim.core import status
from unshim.core.decide import Action, Decision, Result, View, decide
from unshim.core.journal import CorruptJournal
from unshim.core.objects import Manifest
from unshim.core.options import Options
from unshim.core.status import Progress
from unshim.engine import in_depth, leaving, looking, preparing, proving, switching
from unshim.engine.session import Session
from unshim.engine.tools import Performer, Tools, Wait
from unshim.errors import (
    Busy,
    JournalCorrupt,
    NeedsHuman,
    NodeUnreachable,
    Refused,
    Retryable,
    StepFailed,
    UnshimError,
)

log = logging.getLogger(__name__)

BUDGET_SECONDS = 45.0  # a tick returns after this long even when it could go on
SHORT_SECONDS = 1.0  # waits up to this long are slept inside the tick
RETRY_SECONDS = 2.0

PERFORM: dict[Action, Performer] = {
    Action.AUDIT: preparing.audit,
    Action.STAGE: preparing.stage,
    Action.CORDON: preparing.cordon,
    Action.DRAIN: preparing.drain,
    Action.SWITCH: switching.switch,
    Action.AWAIT_SWITCH: switching.await_switch,
    Action.VERIFY: proving.verify,
    Action.CONFIRM: switching.confirm,
    Action.ANNOTATE: leaving.annotate,
    Action.UNCORDON: leaving.uncordon,
    Action.ROLL_BACK: switching.roll_back,
    Action.REOPEN: switching.reopen,
    Action.AWAIT_ROLLBACK: switching.await_rollback,
    Action.PROVE_RESTORED: proving.prove_restored,
    Action.RESTORE_ANNOTATION: leaving.restore_annotation,
}


class Engine:
    """Moves runs on. Stateless: everything it needs is in the session, the node and the API."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def tick(self, session: Session) -> Progress:
        """Act until the run is finished, must wait, or the budget is spent."""
        until = self._tools.clock.now() + timedelta(seconds=BUDGET_SECONDS)
        while True:
            progress = self._advance(session)
            self._publish(session, progress)
            if progress.finished or progress.delay > SHORT_SECONDS:
                return progress
            if self._tools.stopping() or self._tools.clock.now() >= until:
                return progress
            self._tools.clock.sleep(progress.delay)

    def _advance(self, session: Session) -> Progress:
        try:
            return self._look_and_act(session)
        except Retryable as exc:
            if isinstance(exc, NodeUnreachable):
                session.disconnect()
            return self._waiting(session, exc)
        except Refused as exc:
            return self._refused(session, exc)
        except NeedsHuman as exc:
            return self._ended(session, Result.FAILED, exc)
        except CorruptJournal as exc:
            return self._ended(session, Result.FAILED, JournalCorrupt(_corrupt(session, exc)))

    def _look_and_act(self, session: Session) -> Progress:
        view = looking.look(self._tools, session)
        decision = decide(view)
        if decision.action is Action.FINISH:
            return self._finish(session, view, decision)
        self._publish(session, _begun(session, view, decision))
        wait = self._perform(session, view, decision)
        progress = _progress(session, view, decision, wait.message if wait else "")
        return dataclasses.replace(progress, delay=wait.seconds if wait else 0.0)

    def _perform(self, session: Session, view: View, decision: Decision) -> Wait | None:
        if session.last is None or session.action is not decision.action:
            log.info("node %s: %s %s", view.node.name, decision.action, decision.reason)
        session.action = decision.action
        try:
            return PERFORM[decision.action](self._tools, session, view, decision)
        except StepFailed as exc:
            session.go_back = exc.reason
            session.detail = str(exc)
            log.warning("node %s: %s", view.node.name, exc)
            return None

    def _finish(self, session: Session, view: View, decision: Decision) -> Progress:
        leaving.leave(self._tools, session)
        progress = _progress(session, view, decision, leaving.closing(session, view, decision))
        return dataclasses.replace(progress, result=decision.result, delay=0.0)

    def _refused(self, session: Session, exc: Refused) -> Progress:
        """Refuse outright while nothing was done; afterwards a refusal means going back."""
        begun = session.state is not None and bool(session.state.journal.entries)
        if not begun and "Cordoned" not in session.reached:
            return self._ended(session, Result.REFUSED, exc)
        session.go_back = session.go_back or exc.reason
        return self._waiting(session, exc)

    def _ended(self, session: Session, result: Result, exc: UnshimError) -> Progress:
        leaving.leave(self._tools, session)
        return Progress(
            **_facts_of(session),
            phase=result.value,
            reason=exc.reason,
            message=str(exc),
            result=result,
            delay=0.0,
        )

    def in_depth(
        self, options: Options, pods: Sequence[Manifest], *, rehearse: bool
    ) -> in_depth.InDepth:
        """One node for an audit: see in_depth.look."""
        return in_depth.look(self._tools, options, pods, rehearse=rehearse)

    def release(self, session: Session) -> None:
        """Give the node's Lease up for the next process; the run itself stays where it is."""
        leaving.leave(self._tools, session, canary=False)

    def _waiting(self, session: Session, exc: UnshimError) -> Progress:
        last = session.last
        if last is None or last.message != str(exc):
            log.info("node %s: %s", session.options.node, exc)
        return Progress(
            **_facts_of(session),
            phase=last.phase if last else "Pending",
            step=last.step if last else "",
            runtime=last.runtime if last else "",
            reason=exc.reason,
            message=str(exc),
            delay=RETRY_SECONDS,
        )

    def _publish(self, session: Session, progress: Progress) -> None:
        """A process that has not seen the run yet keeps quiet about it while another has it."""
        if progress == session.last:
            return
        session.last = progress
        if progress.reason != Busy.reason or session.state is not None:
            session.publish(progress)


def _progress(session: Session, view: View, decision: Decision, message: str = "") -> Progress:
    return Progress(
        **_facts_of(session),
        phase=status.phase(decision.action, view.verdict, decision.result),
        step=_step(session, decision),
        reason=decision.reason or decision.action.value.title().replace("-", ""),
        message=message or decision.message,
        runtime=view.node.runtime,
    )


def _begun(session: Session, view: View, decision: Decision) -> Progress:
    """The same action tried again keeps its message: a status must not flicker."""
    progress = _progress(session, view, decision)
    last = session.last
    if last is not None and (last.phase, last.step) == (progress.phase, progress.step):
        return dataclasses.replace(progress, message=last.message, delay=last.delay)
    return progress


def _facts_of(session: Session) -> dict[str, Any]:
    return {
        "run": session.run,
        "node": session.options.node,
        "reached": session.reached,
        "findings": tuple(finding.as_status() for finding in session.findings),
        "counts": counts(session.findings) if session.audited or session.findings else {},
        "plan": tuple(step.as_status() for step in session.plan.steps) if session.plan else (),
        "report": session.report,
        "report_error": session.report_error,
        "drain": session.drain_status,
        "checks": session.checks,
    }


def _step(session: Session, decision: Decision) -> str:
    on_node = {Action.STAGE, Action.AWAIT_SWITCH, Action.AWAIT_ROLLBACK}
    if decision.action in on_node and session.state is not None:
        return session.state.journal.current_step or decision.action.value
    return "" if decision.action is Action.FINISH else decision.action.value


def _corrupt(session: Session, exc: CorruptJournal) -> str:
    return (
        f"node {session.options.node}: {exc}. The run was left as it stands. Read "
        f"/var/lib/unshim/{session.run}/journal on the node; the runner there can still roll back: "
        f"sh /var/lib/unshim/{session.run}/runner.sh rollback CorruptJournal"
    )
