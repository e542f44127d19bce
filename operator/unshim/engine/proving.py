"""Proof, not hope: readings of the node and the API, judged by `core.proof`, N good in a row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from unshim.core import proof
from unshim.core.decide import Decision, View
from unshim.core.journal import Event
from unshim.core.objects import CanaryResult
from unshim.engine import canaries, looking, telling
from unshim.engine.session import Session
from unshim.engine.tools import Tools, Wait
from unshim.errors import UndoFailed

POLL_SECONDS = 0.1
AGAIN_SECONDS = 0.05  # between readings of which each holds
RESTORE_SECONDS = 300  # kubelet, CNI and pods must be back on Docker within this time


def verify(tools: Tools, session: Session, view: View, _: Decision) -> Wait | None:
    """One reading of the new runtime, over a connection opened after the switch.

    The canary works while the other pods come back. All readings but the last are taken meanwhile;
    the last one is taken with all that the canary has shown, and sees whether it is gone.
    """
    since = _moment(view, Event.SWITCHED, Event.ARMED)
    canary = canaries.step(tools, session)
    last = canary is None or bool(canary.leaving)
    wanted = session.options.verify.readings
    if canary is not None and not last and session.good_readings >= wanted - 1:
        return _await_canary(session, canary)
    shown = canary if last else None
    checks = _reading(tools, session, view, runtime="containerd", since=since, canary=shown)
    session.checks = tuple(check.as_status() for check in checks)
    others = tuple(check for check in checks if check.name != "canary")
    if _good(session, others) >= wanted and last and proof.hold(checks):
        session.proven = True
        return None
    return Wait(AGAIN_SECONDS if proof.hold(checks) else POLL_SECONDS, proof.summary(checks))


def _await_canary(session: Session, canary: CanaryResult) -> Wait:
    """Everything else holds: should time run out, the canary is what was missing."""
    others = tuple(check for check in session.checks if check["name"] != "canary")
    session.checks = (*others, proof.canary_check(canary).as_status())
    return Wait(POLL_SECONDS, f"canary: {canary.message}")


def prove_restored(tools: Tools, session: Session, view: View, _: Decision) -> Wait | None:
    """The same proof, of the old runtime. Past the limit a person is needed; the cordon stays."""
    session.restore_since = session.restore_since or view.now
    since = _moment(view, Event.ROLLBACK)
    checks = _reading(tools, session, view, runtime="docker", since=since, canary=None)
    session.checks = tuple(check.as_status() for check in checks)
    if _good(session, checks) >= session.options.verify.readings:
        session.restored = True
        telling.event(tools, session, view.node, "Restored", "the node is back on its old runtime")
        return None
    if view.now - session.restore_since > timedelta(seconds=RESTORE_SECONDS):
        raise UndoFailed(
            f"node {view.node.name}: its files and units are restored, but it could not be proven "
            f"on its old runtime within {RESTORE_SECONDS} s ({proof.summary(checks)}). It stays "
            f"cordoned. Next: look at the kubelet there, then delete or re-apply the migration."
        )
    return Wait(POLL_SECONDS * 2, proof.summary(checks))


def _reading(
    tools: Tools,
    session: Session,
    view: View,
    *,
    runtime: str,
    since: datetime,
    canary: CanaryResult | None,
) -> tuple[proof.Check, ...]:
    """The API's side first; the node is asked only once that looks good."""
    baseline = _baseline(session)
    machine = looking.connected(tools, session, view.node, fresh=True)
    # polled often: an old server reads every pod from its store for an exact list
    pods = tools.cluster.pods_on(view.node.name, cached=True)
    reading = proof.Reading(node=view.node, pods=tuple(pods), since=since, runtime=runtime)
    checks = proof.judge_cluster(baseline, reading)
    if proof.hold(checks):
        said = machine.proof(leaving=canary.leaving if canary else "")
        checks += proof.judge_node(baseline, reading, said, canary)
    return checks


def _baseline(session: Session) -> proof.Baseline:
    assert session.state is not None  # noqa: S101  a verdict or a switch was read from it
    return proof.Baseline.from_json(session.state.meta.get("baseline") or {})


def _good(session: Session, checks: tuple[proof.Check, ...]) -> int:
    session.good_readings = session.good_readings + 1 if proof.hold(checks) else 0
    return session.good_readings


def _moment(view: View, *events: Event) -> datetime:
    """The node's own time of the newest of these events: heartbeats carry the same clock."""
    entries = [entry for event in events if (entry := view.journal.last(event))]
    newest = min((entry.at for entry in entries), default=0)
    return datetime.fromtimestamp(newest, UTC)
