"""A cluster of thousands of nodes, audited from the API alone: `unshim audit --no-ssh`.

A real API server hands out a synthetic fleet page by page. The audit is a process of its own: what
is measured is its time and its memory, not the server's, although both share the processors.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections import Counter
from pathlib import Path

from tests.bench import server
from tests.bench.filling import fill
from tests.bench.measuring import Cost, measured
from tests.bench.synthetic import Fleet
from tests.lab.shells import say

ROOT = Path(__file__).resolve().parents[2]
MOST_SECONDS, MOST_MB = 60.0, 1000.0  # what we promise for 5,000 nodes on two cores


def run(nodes: int, rounds: int) -> bool:
    """Print a table; True when the findings are those planted and the promise is kept."""
    fleet = Fleet(nodes)
    with server.serving() as api:
        say(f"filling an API server with {fleet.nodes} nodes and {fleet.pods} pods (minutes)")
        fill(api, fleet)
        costs = [_round(api, fleet, number + 1) for number in range(rounds)]
    return _report(fleet, costs)


def _round(api: server.ApiServer, fleet: Fleet, number: int) -> dict[str, float]:
    before = api.cpu_seconds()
    cost, found = audit(api)
    spent = {name: after - before[name] for name, after in api.cpu_seconds().items()}
    if found != fleet.planted():
        raise RuntimeError(f"found {found}, planted {fleet.planted()}")
    ours = cost.cpu + sum(spent.values())
    row = {
        "wall": cost.wall,
        "cpu": cost.cpu,
        "rss": cost.rss,
        "server": sum(spent.values()),
        "others": max(0.0, cost.busy - ours),
    }
    say(f"round {number}: " + ", ".join(f"{key} {value:.1f}" for key, value in row.items()))
    return row


def audit(api: server.ApiServer) -> tuple[Cost, dict[str, int]]:
    """One audit in a process of its own, and its findings by rule."""
    argv = [sys.executable, "-m", "unshim", "audit", "--no-ssh", "-o", "json"]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "operator"), "KUBECONFIG": str(api.kubeconfig)}
    out, errors = api.folder / "audit.json", api.folder / "audit.err"
    cost = measured(argv, env, out, errors)
    if cost.code not in (0, 1):  # 1: a finding is a blocker
        raise RuntimeError(f"the audit ended with {cost.code}: {errors.read_text()[-2000:]}")
    findings = json.loads(out.read_text())["findings"]
    return cost, dict(Counter(finding["rule"] for finding in findings))


def _report(fleet: Fleet, costs: list[dict[str, float]]) -> bool:
    middle = {key: statistics.median(row[key] for row in costs) for key in costs[0]}
    findings = sum(fleet.planted().values())
    print(f"\nAudit of {fleet.nodes} nodes, {fleet.pods} pods; medians of {len(costs)} rounds")
    rows = (
        ("seconds", f"{middle['wall']:.1f}", f"<= {MOST_SECONDS:.0f}"),
        ("MB of memory", f"{middle['rss']:.0f}", f"<= {MOST_MB:.0f}"),
        ("processor seconds", f"{middle['cpu']:.1f}", ""),
        ("  of API server and etcd", f"{middle['server']:.1f}", ""),
        ("  of other programs here", f"{middle['others']:.1f}", ""),
        ("findings, all as planted", str(findings), ""),
    )
    for title, value, promise in rows:
        print(f"{title:<32} {value:>8} {promise:>8}")
    return middle["wall"] <= MOST_SECONDS and middle["rss"] <= MOST_MB
