"""The flags that choose how a node is migrated: the same for the audit and for the run."""

from __future__ import annotations

import argparse

from unshim.core.options import DrainOptions, Options, VerifyOptions


def run_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keep-docker",
        action="store_true",
        help="leave Docker running for containers that Kubernetes does not own",
    )
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="RULE[:OBJECT][=REASON]",
        help="accept a finding of the audit; may be repeated",
    )
    drain_flags(parser)


def drain_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("drain (kubectl drain's words)")
    group.add_argument("--grace-period", type=int, default=-1, metavar="SECONDS")
    group.add_argument("--timeout", type=int, default=900, metavar="SECONDS")
    group.add_argument("--force", action="store_true", help="also pods that no controller owns")
    group.add_argument("--delete-emptydir-data", action="store_true")
    group.add_argument("--pod-selector", default="", metavar="SELECTOR")


def options(args: argparse.Namespace, node: str) -> Options:
    return Options(
        node=node,
        dry_run=getattr(args, "dry_run", False),
        keep_docker=getattr(args, "keep_docker", False),
        drain=DrainOptions(
            grace_period_seconds=None if args.grace_period < 0 else args.grace_period,
            timeout_seconds=args.timeout,
            force=args.force,
            delete_empty_dir_data=args.delete_emptydir_data,
            pod_selector=args.pod_selector,
        ),
        verify=VerifyOptions(canary_image=args.canary_image or ""),
        ignore_rules=tuple(getattr(args, "ignore", ())),
    )
