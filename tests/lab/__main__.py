"""`python -m tests.lab up|down|status|reset`."""

from __future__ import annotations

import argparse
import os
import sys

from tests.lab import Lab
from tests.lab.builds import kubernetes


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.lab", description=__doc__)
    parser.add_argument("verb", choices=("up", "down", "status", "reset"))
    parser.add_argument("--name", default="lab")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--foreign", metavar="NODE", help="a container Kubernetes does not own")
    args = parser.parse_args()
    if os.geteuid() != 0:
        print("The lab boots machines in namespaces: it needs root.", file=sys.stderr)
        return 2
    if args.verb == "down":
        Lab(args.name, args.workers).down()
        return 0
    try:
        lab = (
            Lab.up(args.name, args.workers, args.foreign)
            if args.verb == "up"
            else Lab.attach(args.name)
        )
    except FileNotFoundError:
        print(f"No lab named {args.name} is running; start one with: make lab-up")
        return 1
    if args.verb == "reset":
        lab.reset()
    print(lab.kubectl("get", "nodes,pods", "-A", "-o", "wide"))
    print(f"export KUBECONFIG={lab.kubeconfig}")
    print(f"ip netns exec {lab.netns} {kubernetes() / 'kubectl'} get nodes")
    print(f"ip netns exec {lab.netns} ssh -F {lab.directory / 'ssh' / 'config'} root@worker-1")
    return 0


if __name__ == "__main__":
    sys.exit(main())
