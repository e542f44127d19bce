"""`unshim migrate` and `unshim rollback`: one node, in the foreground, without the operator."""

from __future__ import annotations

import argparse
import logging
import sys
import uuid
from datetime import datetime
from typing import Any

from unshim import __version__, report, wiring
from unshim.cli import choosing, exits, printing
from unshim.core import runs
from unshim.core.decide import Result
from unshim.core.facts import NodeRun
from unshim.core.options import Options
from unshim.core.status import Progress
from unshim.engine.session import Session
from unshim.machine import RemoteMachine
from unshim.settings import Settings

log = logging.getLogger(__name__)

INTERRUPTED = (
    "A node before its switch serves on and may stay cordoned; one in its switch goes back to "
    "Docker by itself. Run the same command again to go on, or `unshim rollback NODE`."
)
WAIT_SECONDS = 30


def register(commands: Any, common: argparse.ArgumentParser) -> None:
    migrate = commands.add_parser(
        "migrate",
        parents=[common],
        help="move one node to containerd (--dry-run: only say what would be done)",
        description="Audit the node, stage, cordon, drain, switch, prove, uncordon. Any failure "
        "brings the node back as it was. An interrupted migration is taken up again.",
        epilog=exits.HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    migrate.add_argument("node", metavar="NODE")
    migrate.add_argument("--dry-run", action="store_true", help="change nothing; show the plan")
    choosing.run_flags(migrate)
    migrate.set_defaults(call=call_migrate)

    rollback = commands.add_parser(
        "rollback",
        parents=[common],
        help="bring one node back to Docker",
        description="Take the node's newest run back: an unfinished one at once, a confirmed one "
        "after a drain. With --host no API server is needed; the Node object is then put right "
        "by the next `unshim rollback NODE` or by the operator.",
        epilog=exits.HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    rollback.add_argument("node", metavar="NODE")
    rollback.add_argument("--host", default="", help="SSH address: work without any API server")
    choosing.drain_flags(rollback)
    rollback.set_defaults(call=call_rollback)


def call_migrate(settings: Settings, args: argparse.Namespace) -> int:
    parts = wiring.parts(settings)
    found = _runs(parts, settings, args.node)
    open_run = next((run for run in found if not runs.finished(run)), None)
    uid = open_run.uid if open_run else str(uuid.uuid4())
    if open_run:
        print(f"Taking up the unfinished run {uid} on {args.node}.")
    return _carry(parts, uid, choosing.options(args, args.node), go_back="")


def call_rollback(settings: Settings, args: argparse.Namespace) -> int:
    if args.host:
        return _without_cluster(settings, args)
    parts = wiring.parts(settings)
    newest = _newest(_runs(parts, settings, args.node), args.node)
    return _carry(parts, newest.uid, choosing.options(args, args.node), go_back="RollbackRequested")


def _runs(parts: wiring.Parts, settings: Settings, node: str) -> tuple[NodeRun, ...]:
    machine = wiring.machines(settings).open(parts.cluster.node(node), "")
    try:
        return machine.runs()
    finally:
        machine.close()


def _newest(found: tuple[NodeRun, ...], node: str) -> NodeRun:
    begun = [run for run in found if runs.started_at(run)]
    if not begun:
        raise SystemExit(f"unshim: node {node} holds no run of unshim; there is nothing to undo.")
    return max(begun, key=runs.started_at)


def _carry(parts: wiring.Parts, uid: str, wanted: Options, *, go_back: str) -> int:
    """Tick until the run has ended, printing what changes."""
    printer = printing.Printer(sys.stdout)
    session = Session(
        run=uid, options=wanted, holder=wiring.holder(), publish=printer.show, go_back=go_back
    )
    progress: Progress = parts.engine.tick(session)
    while not progress.finished:
        parts.clock.sleep(progress.delay)
        progress = parts.engine.tick(session)
    if progress.result is Result.AUDITED:
        print(f"\n{_report(session, parts.clock.now())}", end="")
    printer.finish(progress)
    log.debug("cost: %s; API requests %s", parts.ssh_stats, sum(parts.cluster.stats.values()))
    wanted_back = bool(go_back) and progress.phase == "RolledBack"
    return exits.FINE if wanted_back else exits.of_result(progress.result, progress.reason)


def _report(session: Session, now: datetime) -> str:
    """What a dry run has found, as `unshim audit NODE` tells it."""
    node = session.options.node
    plans = {node: session.plan} if session.plan else {}
    meta = report.Meta(at=now, version=__version__, scope=node, nodes=1)
    return report.RENDERERS["table"](session.findings, plans, meta)


def _without_cluster(settings: Settings, args: argparse.Namespace) -> int:
    """Roll back over SSH alone: for the day when there is no API server to ask."""
    shell = wiring.connector(settings).connect(args.host, node=args.node)
    try:
        newest = _newest(RemoteMachine(shell, args.node, "").runs(), args.node)
        machine = RemoteMachine(shell, args.node, newest.uid)
        state = machine.show()
        if state.verdict == "confirmed":
            state = machine.reopen(None, "RollbackRequested")
        state = machine.roll_back("RollbackRequested")
        while not state.journal.ended and not state.journal.stuck:
            state = machine.wait(WAIT_SECONDS)
    finally:
        shell.close()
    printing.journal(sys.stdout, state)
    if state.journal.stuck:
        return exits.NEEDS_HUMAN
    print(
        f"{args.node} is back on its old configuration. When the API server answers again, run "
        f"`unshim rollback {args.node}` to prove it and to release unshim's cordon."
    )
    return exits.FINE
