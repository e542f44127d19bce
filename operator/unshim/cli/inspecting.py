"""`unshim status` and `unshim journal`: look, change nothing."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from unshim import wiring
from unshim.cli import exits, printing
from unshim.core import runs
from unshim.core.resource import FINISHED_PHASES
from unshim.machine import RemoteMachine
from unshim.settings import Settings

WATCH_SECONDS = 1.0


def register(commands: Any, common: argparse.ArgumentParser) -> None:
    status = commands.add_parser(
        "status",
        parents=[common],
        help="show the NodeMigrations of the cluster, or of one node",
        description="Show each NodeMigration's phase as the operator last wrote it.",
    )
    status.add_argument("node", metavar="NODE", nargs="?", default="")
    status.add_argument("--watch", action="store_true", help="until all have ended")
    status.set_defaults(call=call_status)

    journal = commands.add_parser(
        "journal",
        parents=[common],
        help="show the journal that the node itself keeps",
        description="Read the newest run's journal from the node: the only record unshim trusts.",
    )
    journal.add_argument("node", metavar="NODE")
    journal.add_argument("--host", default="", help="SSH address: work without any API server")
    journal.set_defaults(call=call_journal)


def call_status(settings: Settings, args: argparse.Namespace) -> int:
    parts = wiring.parts(settings)
    while True:
        bodies = [
            body
            for body in parts.migrations.list()
            if not args.node or body["spec"].get("node") == args.node
        ]
        printing.statuses(sys.stdout, bodies)
        phases = [str((body.get("status") or {}).get("phase")) for body in bodies]
        if not args.watch or all(phase in FINISHED_PHASES for phase in phases):
            return exits.NEEDS_HUMAN if "Failed" in phases else exits.FINE
        parts.clock.sleep(WATCH_SECONDS)
        print()


def call_journal(settings: Settings, args: argparse.Namespace) -> int:
    if args.host:
        shell = wiring.connector(settings).connect(args.host, node=args.node)
        machine = RemoteMachine(shell, args.node, "")
    else:
        node = wiring.parts(settings).cluster.node(args.node)
        machine = wiring.machines(settings).open(node, "")
    try:
        found = machine.runs()
    finally:
        machine.close()
    if not found:
        print(f"node {args.node} holds no run of unshim.")
        return exits.FINE
    for run in sorted(found, key=runs.started_at):
        print(f"run {run.uid}")
        printing.journal(sys.stdout, runs.state_of(run))
    return exits.FINE
