"""`unshim audit`: what the move to containerd would break, on a cluster, on nodes, or in files."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from unshim import __version__, audit, report, wiring
from unshim.audit import manifests
from unshim.audit.finding import Finding, Severity
from unshim.audit.snapshot import Snapshot
from unshim.cli import exits
from unshim.core.facts import NodeFacts
from unshim.errors import InvalidSpec, UnshimError
from unshim.settings import Settings

AT_ONCE = 50  # nodes asked in depth at the same time

HELP = """Audit the cluster, or the named nodes. With SSH the nodes are read in depth; --no-ssh
asks the API server only; -f reads manifests or a Helm rendering and needs no cluster. Nothing is
changed."""


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
        "--ignore",
        action="append",
        default=[],
        metavar="RULE[:OBJECT][=REASON]",
        help="accept a finding; may be repeated",
    )
    parser.add_argument(
        "--fail-on",
        choices=[severity.value for severity in Severity],
        default="blocker",
        help="exit with 1 when a finding is at least this grave (default: blocker)",
    )
    parser.set_defaults(call=call)


def call(settings: Settings, args: argparse.Namespace) -> int:
    gc.disable()  # an audit makes millions of objects, no cycles, and then the process ends
    snapshot = _from_files(args.files) if args.files else _from_cluster(settings, args)
    findings = audit.audit(snapshot, args.ignore)
    meta = report.Meta(
        at=snapshot.now,
        version=__version__,
        scope=_scope(args),
        nodes=len(snapshot.nodes),
        workloads=len(snapshot.controllers),
    )
    print(report.RENDERERS[args.output](findings, {}, meta), end="")
    return exits.BLOCKED if _grave(findings, Severity(args.fail_on)) else exits.FINE


def _grave(findings: Sequence[Finding], least: Severity) -> bool:
    return any(not f.suppressed_by and f.severity.rank <= least.rank for f in findings)


def _scope(args: argparse.Namespace) -> str:
    if args.files:
        return ", ".join(args.files)
    return ", ".join(args.nodes) or "the cluster"


def _from_cluster(settings: Settings, args: argparse.Namespace) -> Snapshot:
    listed = wiring.listed(settings, tuple(args.nodes))
    for kind in listed.forbidden:
        print(f"unshim: may not list {kind}; rules that need it stay silent", file=sys.stderr)
    missing = set(args.nodes) - {node["metadata"]["name"] for node in listed.snapshot.nodes}
    if missing:
        raise InvalidSpec(f"no Node is named {', '.join(sorted(missing))}. Nothing was audited.")
    if args.no_ssh:
        return listed.snapshot
    return replace(listed.snapshot, facts=_facts(settings, listed.snapshot, args.nodes))


def _facts(
    settings: Settings, snapshot: Snapshot, wanted: Sequence[str]
) -> Mapping[str, NodeFacts]:
    """Each node's own facts; a node that cannot be read is named and audited from the API only."""
    names = wanted or [node["metadata"]["name"] for node in snapshot.nodes]
    parts = wiring.parts(settings)

    def ask(name: str) -> NodeFacts | None:
        try:
            machine = wiring.machines(settings).open(parts.cluster.node(name), "")
        except UnshimError as exc:
            print(f"unshim: {name} was not read in depth: {exc}", file=sys.stderr)
            return None
        try:
            return machine.facts()
        except UnshimError as exc:
            print(f"unshim: {name} was not read in depth: {exc}", file=sys.stderr)
            return None
        finally:
            machine.close()

    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        found = dict(zip(names, pool.map(ask, names), strict=True))
    return {name: facts for name, facts in found.items() if facts is not None}


def _from_files(paths: Sequence[str]) -> Snapshot:
    """Raises InvalidSpec naming the file that is missing or is not YAML."""
    documents = [pair for path in paths for pair in _documents(path)]
    return manifests.snapshot(documents, now=datetime.now(UTC))


def _documents(path: str) -> Iterator[tuple[str, Any]]:
    if path == "-":
        yield from _parsed("stdin", sys.stdin.read())
        return
    place = Path(path)
    if not place.exists():
        raise InvalidSpec(f"-f {path}: no such file or folder. Nothing was audited.")
    files = [place] if place.is_file() else sorted(f for f in place.rglob("*") if _manifest(f))
    for file in files:
        yield from _parsed(str(file), file.read_text(encoding="utf-8"))


def _manifest(file: Path) -> bool:
    return file.is_file() and file.suffix in (".yaml", ".yml", ".json")


def _parsed(name: str, text: str) -> Iterator[tuple[str, Any]]:
    """Each document with its place, `file:line`."""
    try:
        for node in yaml.compose_all(text, Loader=yaml.SafeLoader):
            if node is None:
                continue
            loader = yaml.SafeLoader("")
            try:
                document = loader.construct_document(node)
            finally:
                loader.dispose()
            yield f"{name}:{node.start_mark.line + 1}", document
    except yaml.YAMLError as exc:
        raise InvalidSpec(f"-f {name}: not YAML: {exc}. Nothing was audited.") from exc
