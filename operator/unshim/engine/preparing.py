"""Before the switch: audit, stage, cordon, drain. What the running node uses stays as it is."""

from __future__ import annotations

import logging
from dataclasses import replace

from unshim.audit.snapshot import Snapshot
from unshim.core import bundle, edits, proof
from unshim.core.decide import Decision, View
from unshim.core.facts import NodeFacts
from unshim.core.journal import Event
from unshim.core.objects import CRI_SOCKET_ANNOTATION, Stamp
from unshim.drain import Drain
from unshim.engine import canaries, looking, planning, preflight, pulling, reporting, telling
from unshim.engine.session import Session
from unshim.engine.tools import Tools, Wait
from unshim.ports import Machine

log = logging.getLogger(__name__)


def audit(tools: Tools, session: Session, view: View, _: Decision) -> Wait | None:
    """Run the rules and plan every file; a blocker refuses a real run, and nothing is touched.

    Where the run ends here, it leaves a plan and a report.
    """
    machine = looking.connected(tools, session, view.node)
    facts = session.facts or machine.facts()
    session.facts = facts
    before = _snapshot(tools, session, view, facts, machine)
    session.findings = preflight.findings(before, session.options)
    playbook = tools.playbooks(session.options.playbook)
    if session.blocked or session.options.dry_run:
        session.plan = planning.plan(tools, playbook, machine, before)
        reporting.keep(tools, session, view)
    if not session.blocked:
        session.changes = planning.changes(playbook, facts, session.options)
    elif not session.options.dry_run:
        report = reporting.pointer(session)
        raise preflight.blocked(view.node.name, session.findings, report)
    session.audited = True
    session.reached |= {"Audited"}
    return None


def _snapshot(
    tools: Tools, session: Session, view: View, facts: NodeFacts, machine: Machine
) -> Snapshot:
    before, name = preflight.snapshot(tools, session, view, facts), view.node.name
    pods = [pod for pod in before.pods if pod["spec"].get("nodeName") == name]
    session.unpullable = pulling.failures(tools, machine, facts, session.options, pods)
    return replace(before, pull_failures={name: session.unpullable})


def stage(tools: Tools, session: Session, view: View, _: Decision) -> Wait | None:
    """Upload the bundle and run the stage steps, while the node still serves."""
    machine = looking.connected(tools, session, view.node)
    state = session.state
    if state is None or not state.journal.has(Event.BEGIN):
        _upload(tools, session, view)
    looking.keep(tools, session, machine.stage(session.token))
    return None


def _upload(tools: Tools, session: Session, view: View) -> None:
    assert session.facts is not None  # noqa: S101  AUDIT always comes before STAGE
    pods = tools.cluster.pods_on(view.node.name)
    served = canaries.served(tools, session.options, pods)
    playbook = tools.playbooks(session.options.playbook)
    baseline = proof.baseline(view.node, pods, session.facts)
    meta = {
        "migration": session.run,
        "node": view.node.name,
        "playbook": playbook.name,
        "criSocket": view.node.annotations.get(CRI_SOCKET_ANNOTATION),
        "runtime": view.node.runtime,
        "keepDocker": session.options.keep_docker,
        "baseline": baseline.as_json(),
    }
    variables = edits.variables(session.facts, session.options, served)
    parts = bundle.build(
        session.run,
        playbook,
        session.changes,
        pulling.accepted(variables, session.unpullable),
        meta,
        tools.runner,
    )
    looking.connected(tools, session, view.node).upload(parts)


def cordon(tools: Tools, session: Session, view: View, _: Decision) -> Wait | None:
    """Cordon with our stamp. A cordon that somebody lifted is set again, its clock unchanged."""
    session.drained, session.drain = False, None  # pods may have landed while it was open
    stamp = view.node.stamp if view.stamped else None
    tools.cluster.cordon(view.node.name, stamp or Stamp(migration=session.run, at=view.now))
    session.reached |= {"Cordoned"}
    telling.event(tools, session, view.node, "Cordoned", "unshim cordoned the node")
    return None


def drain(tools: Tools, session: Session, view: View, _: Decision) -> Wait | None:
    """One pass of evictions. Pods that may not leave are named, with what holds them."""
    session.drain = session.drain or Drain(tools.cluster, session.options.drain)
    state = session.drain.pass_once(view.node.name, view.now)
    session.drain_status = state.as_status()
    if state.done:
        session.drained = True
        session.reached |= {"Drained"}
        telling.event(tools, session, view.node, "Drained", state.message)
        return None
    return Wait(0.5, state.message)
