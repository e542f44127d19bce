"""Look before each decision: the Node object always, the journal when it may have changed."""

from __future__ import annotations

from datetime import timedelta

from unshim.core.decide import View
from unshim.core.objects import Node, RunState
from unshim.engine.session import Session
from unshim.engine.tools import LEASE_SECONDS, Tools
from unshim.ports import Machine


def look(tools: Tools, session: Session) -> View:
    """Everything the next decision may use. Raises Retryable or Refused."""
    hold_lease(tools, session)
    node = tools.cluster.node(session.options.node)
    if session.state is None:
        keep(tools, session, connected(tools, session, node).show())
    assert session.state is not None  # noqa: S101  keep() has just set it
    now = tools.clock.now()
    return View(
        run=session.run,
        options=session.options,
        node=node,
        now=now,
        journal=session.state.journal,
        verdict=session.state.verdict,
        node_now=int(now.timestamp() + session.clock_offset),
        old_cri_socket=session.state.meta.get("criSocket"),
        audited=session.audited,
        blocked=session.blocked,
        drained=session.drained,
        proven=session.proven,
        restored=session.restored,
        go_back=session.go_back,
    )


def hold_lease(tools: Tools, session: Session) -> None:
    """Keep the node's Lease; its fencing token goes along with every change on the node."""
    now = tools.clock.now()
    if session.lease_until is not None and now < session.lease_until:
        return
    session.token = tools.cluster.acquire_lease(session.options.node, session.holder, LEASE_SECONDS)
    session.lease_until = now + timedelta(seconds=LEASE_SECONDS / 3)


def connected(tools: Tools, session: Session, node: Node, *, fresh: bool = False) -> Machine:
    """The session's connection; `fresh` asks for one that was opened after the switch."""
    if fresh and not session.fresh_machine:
        session.disconnect()
    if session.machine is None:
        session.machine = tools.machines.open(node, session.run)
        session.fresh_machine = fresh
    return session.machine


def keep(tools: Tools, session: Session, state: RunState) -> RunState:
    """Remember the run as the node has just told it, and how far its clock is from ours."""
    session.state = state
    session.clock_offset = state.now - tools.clock.now().timestamp() if state.now else 0.0
    return state
