"""`make bench`: every measurement, or with --only one of them."""

from __future__ import annotations

import argparse
import sys

from tests.bench import depth, fleet, switch

PARTS = ("switch", "fleet", "depth")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--rounds", type=int, help="default: 5 switches, 3 audits")
    parser.add_argument("--nodes", type=int, default=5000, help="of the fleet; thirty pods each")
    args = parser.parse_args()
    wanted = (args.only,) if args.only else PARTS
    kept = [_run(part, args) for part in wanted]
    return 0 if all(kept) else 1


def _run(part: str, args: argparse.Namespace) -> bool:
    """False when a part missed what we promise; its table says which figure."""
    match part:
        case "switch":
            return switch.run(args.rounds or 5)
        case "fleet":
            return fleet.run(args.nodes, args.rounds or 3)
    return depth.run(args.rounds or 3)


if __name__ == "__main__":
    sys.exit(main())
