"""The dangerous minute: start the node's transaction, wait for it, confirm it or take it back."""

from __future__ import annotations

from unshim.core.decide import Decision, View
from unshim.core.journal import Event
from unshim.engine import canaries, looking
from unshim.engine.session import Session
from unshim.engine.tools import Tools, Wait

WAIT_SECONDS = 10  # one blocking look at the runner; shorter than the Lease
LOOK_SECONDS = 4  # the same in a switch that takes long: its status names the step at work


def switch(tools: Tools, session: Session, view: View, _: Decision) -> Wait | None:
    """Start the transaction under systemd, and come back once the old kubelet is stopped."""
    session.facts = None
    machine = looking.connected(tools, session, view.node)
    seconds, until = session.options.dead_man_seconds, canaries.KUBELET_STOPPED
    looking.keep(tools, session, machine.switch(session.token, seconds, LOOK_SECONDS, until))
    return _noted(session)


def await_switch(tools: Tools, session: Session, view: View, _: Decision) -> Wait | None:
    canaries.start(tools, session)
    machine = looking.connected(tools, session, view.node)
    looking.keep(tools, session, machine.wait(LOOK_SECONDS))
    return _noted(session)


def confirm(tools: Tools, session: Session, view: View, _: Decision) -> Wait | None:
    """Claim the verdict over a connection that was opened after the switch."""
    machine = looking.connected(tools, session, view.node, fresh=True)
    looking.keep(tools, session, machine.confirm(session.token))
    if session.state is not None and session.state.verdict == "confirmed":
        session.reached |= {"Verified"}
    return None


def roll_back(tools: Tools, session: Session, view: View, decision: Decision) -> Wait | None:
    """Claim the verdict for going back. A lost race shows as `confirmed` and is obeyed."""
    missing = "; ".join(f"{c['name']}: {c['message']}" for c in session.checks if not c["ok"])
    session.detail = session.detail or decision.message or missing
    canaries.remove(tools, session)
    machine = looking.connected(tools, session, view.node)
    looking.keep(tools, session, machine.roll_back(decision.reason))
    session.drained = False
    return None


def reopen(tools: Tools, session: Session, view: View, _: Decision) -> Wait | None:
    """Take a confirmed run back, because a person asked for it."""
    machine = looking.connected(tools, session, view.node)
    looking.keep(tools, session, machine.reopen(session.token, view.go_back))
    return None


def await_rollback(tools: Tools, session: Session, view: View, decision: Decision) -> Wait | None:
    """The node undoes its steps by itself; ask it to go on in case its unit was killed."""
    canaries.remove(tools, session)
    machine = looking.connected(tools, session, view.node)
    state = looking.keep(tools, session, machine.wait(WAIT_SECONDS))
    if not state.journal.ended and not state.journal.stuck:
        looking.keep(tools, session, machine.roll_back(decision.reason or "RolledBack"))
    return None


def _noted(session: Session) -> Wait | None:
    state = session.state
    if state is not None and state.journal.has(Event.SWITCHED):
        session.reached |= {"Switched"}
    return None
