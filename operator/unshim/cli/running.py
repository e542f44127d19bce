"""`unshim run`: the operator itself, in a pod or at a desk."""

from __future__ import annotations

import argparse
from typing import Any

from unshim.settings import Settings


def register(commands: Any, common: argparse.ArgumentParser) -> None:
    run = commands.add_parser(
        "run",
        parents=[common],
        help="run the operator: watch NodeMigrations and carry them out",
        description="Run the operator until it is stopped. Stopping it at any moment is safe: a "
        "node in the middle of its switch goes back to Docker by itself unless a new operator "
        "confirms it in time.",
    )
    run.add_argument(
        "--liveness", default="", metavar="URL", help="serve probes, http://0.0.0.0:8080/healthz"
    )
    run.set_defaults(call=call)


def call(settings: Settings, args: argparse.Namespace) -> int:
    from unshim import handlers  # kopf is slow to import and no other command needs it

    handlers.run(settings, args.liveness)
    return 0
