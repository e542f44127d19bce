"""`unshim audit`: what the move to containerd would break, on a cluster, on nodes, or in files."""

from __future__ import annotations

import argparse
import gc
import logging
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from unshim import __version__, audit, report, wiring
from unshim.audit.finding import Finding, Severity
from unshim.audit.snapshot import Snapshot
from unshim.cli import choosing, exits, manifest_files, printing
from unshim.core.objects import Manifest
from unshim.engine.in_depth import InDepth
from unshim.errors import InvalidSpec, UnshimError
from unshim.settings import Settings

AT_ONCE = 50  # nodes asked in depth at the same time

HELP = """Audit the cluster, or the named nodes. With SSH the nodes are read in depth, and the
report tells what a migration would do on each; --no-ssh asks the API server only; -f reads
manifests or a Helm rendering and needs no cluster. Nothing is changed.

For named nodes the answer is that of `unshim migrate NODE` with the same options: evictions and
pulls are rehearsed, and what a run would refuse is a blocker."""


def register(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "audit",
        parents=[common],
        help="say what the move to containerd would break; changes nothing",
        description=HELP,
        epilog=exits.HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("nodes", nargs="*", metavar="NODE")
    parser.add_argument("--no-ssh", action="store_true", help="ask the API server only")
    parser.add_argument(
        "-f", dest="files", action="append", metavar="PATH", help="a file, a folder, or - for stdin"
    )
    parser.add_argument("-o", dest="output", choices=sorted(report.RENDERERS), default="table")
    parser.add_argument(
        "--fail-on",
        choices=[severity.value for severity in Severity],
        default="blocker",
        help="exit with 1 when a finding is at least this grave (default: blocker)",
    )
    choosing.run_flags(parser)
    parser.set_defaults(call=call)


def call(settings: Settings, args: argparse.Namespace) -> int:
    gc.disable()  # an audit makes millions of objects, no cycles, and then the process ends
    if not args.verbose:
        logging.getLogger("unshim").setLevel(logging.WARNING)  # no line for each connection
    snapshot, plans = _looked_at(settings, args)
    findings = audit.audit(snapshot, args.ignore)
    meta = report.Meta(
        at=snapshot.now,
        version=__version__,
        scope=_scope(args),
        nodes=len(snapshot.nodes),
        workloads=len(snapshot.controllers),
    )
    print(report.RENDERERS[args.output](findings, plans, meta), end="")
    return exits.BLOCKED if _grave(findings, Severity(args.fail_on)) else exits.FINE


def _grave(findings: Sequence[Finding], least: Severity) -> bool:
    return any(not f.suppressed_by and f.severity.rank <= least.rank for f in findings)


def _scope(args: argparse.Namespace) -> str:
    if args.files:
        return ", ".join(args.files)
    return ", ".join(args.nodes) or "the cluster"


def _looked_at(settings: Settings, args: argparse.Namespace) -> tuple[Snapshot, report.Plans]:
    if args.files:
        return manifest_files.snapshot(args.files), {}
    snapshot = _listed(settings, args)
    if args.no_ssh:
        return snapshot, {}
    found = _in_depth(settings, snapshot, args)
    evictions = {key: answer for one in found.values() for key, answer in one.evictions.items()}
    facts = {name: one.facts for name, one in found.items()}
    plans = {name: one.plan for name, one in found.items() if one.plan is not None}
    pulls = {name: one.unpullable for name, one in found.items()}
    return replace(snapshot, facts=facts, evictions=evictions, pull_failures=pulls), plans


def _listed(settings: Settings, args: argparse.Namespace) -> Snapshot:
    listed = wiring.listed(settings, tuple(args.nodes))
    for kind in listed.forbidden:
        print(f"unshim: may not list {kind}; rules that need it stay silent", file=sys.stderr)
    missing = set(args.nodes) - {node["metadata"]["name"] for node in listed.snapshot.nodes}
    if missing:
        raise InvalidSpec(f"no Node is named {', '.join(sorted(missing))}. Nothing was audited.")
    if not args.nodes:
        return listed.snapshot
    options = choosing.options(args, args.nodes[0])
    return replace(listed.snapshot, options=options, operator_node=settings.node_name)


def _in_depth(
    settings: Settings, snapshot: Snapshot, args: argparse.Namespace
) -> Mapping[str, InDepth]:
    """What the nodes say; one that cannot be read is named and audited from the API only."""
    names = tuple(dict.fromkeys(args.nodes)) or snapshot.on_docker()
    engine, pods = wiring.parts(settings).engine, _by_node(snapshot.pods)
    counted = printing.Counted(sys.stderr, len(names), "nodes read")

    def ask(name: str) -> InDepth | None:
        options = choosing.options(args, name)
        try:
            return engine.in_depth(options, pods.get(name, ()), rehearse=bool(args.nodes))
        except UnshimError as exc:
            counted.say(f"unshim: {name} was not read in depth: {exc}")
            return None
        finally:
            counted.one_more()

    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool, counted:
        found = dict(zip(names, pool.map(ask, names), strict=True))
    return {name: one for name, one in found.items() if one is not None}


def _by_node(pods: Sequence[Manifest]) -> Mapping[str, Sequence[Manifest]]:
    found: dict[str, list[Manifest]] = {}
    for pod in pods:
        found.setdefault(str(pod["spec"].get("nodeName", "")), []).append(pod)
    return found
