"""The brain: from a view, the one thing to do now."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from unshim.core.decide import CONTAINERD_SOCKET, Action, Result, View, decide
from unshim.core.journal import Entry, Event, Journal
from unshim.core.objects import CRI_SOCKET_ANNOTATION, Node, Stamp
from unshim.core.options import DrainOptions, Options

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OLD_SOCKET = "/var/run/dockershim.sock"
NODE = Node(
    name="worker-1",
    uid="u",
    unschedulable=False,
    ready=True,
    runtime="docker://20.10.24",
    kubelet_version="v1.20.2",
    heartbeat=NOW,
    annotations={CRI_SOCKET_ANNOTATION: OLD_SOCKET},
)
OURS = Stamp(migration="run", at=NOW)
CORDONED = replace(NODE, unschedulable=True, stamp=OURS)
ON_CONTAINERD = replace(CORDONED, annotations={CRI_SOCKET_ANNOTATION: CONTAINERD_SOCKET})


def journal(*events: Event, at: int = int(NOW.timestamp())) -> Journal:
    return Journal(entries=tuple(Entry(seq=i, at=at, event=e) for i, e in enumerate(events)))


STAGED = journal(Event.BEGIN, Event.STAGED)
ARMED = journal(Event.BEGIN, Event.STAGED, Event.ARMED)
SWITCHED = journal(Event.BEGIN, Event.STAGED, Event.ARMED, Event.SWITCHED)
ENDED = journal(Event.BEGIN, Event.STAGED, Event.ARMED, Event.SWITCHED, Event.CONFIRMED, Event.END)
UNDONE = journal(Event.BEGIN, Event.STAGED, Event.ARMED, Event.ROLLBACK, Event.END)


def view(**changes: object) -> View:
    base = View(
        run="run",
        options=Options(node="worker-1"),
        node=NODE,
        now=NOW,
        node_now=int(NOW.timestamp()),
        old_cri_socket=OLD_SOCKET,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "action"),
    [
        (view(), Action.AUDIT),
        (view(audited=True), Action.STAGE),
        (view(journal=journal(Event.BEGIN)), Action.AUDIT),
        (view(journal=STAGED), Action.CORDON),
        (view(journal=STAGED, node=CORDONED), Action.DRAIN),
        (view(journal=STAGED, node=replace(CORDONED, unschedulable=False)), Action.CORDON),
        (view(journal=STAGED, node=replace(NODE, unschedulable=True)), Action.DRAIN),
        (view(journal=STAGED, node=CORDONED, drained=True), Action.SWITCH),
        (view(journal=ARMED, node=CORDONED), Action.AWAIT_SWITCH),
        (view(journal=SWITCHED, node=CORDONED), Action.VERIFY),
        (view(journal=SWITCHED, node=CORDONED, proven=True), Action.CONFIRM),
        (view(journal=SWITCHED, node=CORDONED, verdict="confirmed"), Action.CONFIRM),
        (view(journal=ENDED, node=CORDONED, verdict="confirmed"), Action.ANNOTATE),
        (view(journal=ENDED, node=ON_CONTAINERD, verdict="confirmed"), Action.UNCORDON),
        (view(journal=ARMED, verdict="rolled-back X", node=CORDONED), Action.AWAIT_ROLLBACK),
        (view(journal=UNDONE, verdict="rolled-back X", node=CORDONED), Action.PROVE_RESTORED),
        (
            view(journal=UNDONE, verdict="rolled-back X", node=ON_CONTAINERD, restored=True),
            Action.RESTORE_ANNOTATION,
        ),
        (
            view(journal=UNDONE, verdict="rolled-back X", node=CORDONED, restored=True),
            Action.UNCORDON,
        ),
    ],
)
def test_each_state_leads_to_one_action(given: View, action: Action) -> None:
    """A view alone says what to do; no memory of how we came here is needed."""
    assert decide(given).action is action


@pytest.mark.parametrize(
    ("given", "result"),
    [
        (view(journal=ENDED, node=replace(ON_CONTAINERD, stamp=None), verdict="confirmed"),
         Result.SUCCEEDED),
        (view(journal=UNDONE, verdict="rolled-back X", restored=True), Result.ROLLED_BACK),
        (view(options=Options(node="worker-1", dry_run=True), audited=True), Result.AUDITED),
        (view(go_back="Deleted"), Result.ROLLED_BACK),
        (view(journal=journal(Event.ARMED, Event.ROLLBACK, Event.UNDO_FAILED),
              verdict="rolled-back X"), Result.FAILED),
    ],
)  # fmt: skip
def test_each_end_has_one_result(given: View, result: Result) -> None:
    """A run is finished only when node, annotation and cordon are all as they must be."""
    decision = decide(given)
    assert (decision.action, decision.result) == (Action.FINISH, result)


def test_a_drain_past_its_limit_goes_back() -> None:
    """The limit counts from our cordon."""
    options = Options(node="worker-1", drain=DrainOptions(timeout_seconds=60))
    late = view(options=options, journal=STAGED, node=CORDONED, now=NOW + timedelta(seconds=61))
    assert (decide(late).action, decide(late).reason) == (Action.ROLL_BACK, "DrainTimedOut")


def test_a_drain_under_a_found_cordon_has_a_limit_too() -> None:
    """Without a stamp of ours the limit counts from the end of staging, on the node's clock."""
    options = Options(node="worker-1", drain=DrainOptions(timeout_seconds=60))
    found = replace(NODE, unschedulable=True)
    late = view(options=options, journal=STAGED, node=found, node_now=int(NOW.timestamp()) + 61)
    assert decide(late).reason == "DrainTimedOut"


def test_proof_that_does_not_come_goes_back() -> None:
    """containerd serves on probation only for verify.timeoutSeconds."""
    late = view(journal=SWITCHED, node=CORDONED, node_now=int(NOW.timestamp()) + 121)
    assert (decide(late).action, decide(late).reason) == (Action.ROLL_BACK, "ProofTimedOut")


def test_a_failed_stage_step_goes_back_and_names_the_step() -> None:
    """A failure before the cordon ends the run with nothing changed."""
    failed = Entry(seq=1, at=0, event=Event.FAILED, step="hand-over-images", detail="no space")
    given = view(journal=Journal(entries=(failed,)))
    assert decide(given).action is Action.ROLL_BACK
    assert "hand-over-images" in decide(given).message


def test_a_person_can_take_a_confirmed_run_back_after_a_drain() -> None:
    """Pods leave containerd before the node goes back to Docker."""
    asked = view(journal=ENDED, node=NODE, verdict="confirmed", go_back="RollbackRequested")
    assert decide(asked).action is Action.CORDON
    assert decide(replace(asked, node=CORDONED)).action is Action.DRAIN
    assert decide(replace(asked, node=CORDONED, drained=True)).action is Action.REOPEN


def test_a_reopened_run_never_goes_forward_again() -> None:
    """A crash between reopening and rolling back must not end in a second confirmation."""
    reopened = journal(Event.ARMED, Event.SWITCHED, Event.CONFIRMED, Event.END, Event.REOPENED)
    assert decide(view(journal=reopened, proven=True)).action is Action.ROLL_BACK


def test_a_cordon_that_we_did_not_make_is_left() -> None:
    """Without our stamp there is nothing to undo on the Node object."""
    found = replace(ON_CONTAINERD, stamp=Stamp(migration="other", at=NOW))
    decision = decide(view(journal=ENDED, node=found, verdict="confirmed"))
    assert decision.result is Result.SUCCEEDED
