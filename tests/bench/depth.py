"""Fifty nodes audited in depth at the same time: `unshim audit NODE…` over SSH.

The lab has two workers. Each gets 25 more addresses, and each address a Node object, so that the
audit opens fifty connections to fifty hosts and reads each of them; two sshd serve them all, which
is harder than fifty would be: they turn connections away when many come at once (MaxStartups).
"""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import Any

from tests import operator_process as unshim
from tests.bench.measuring import Cost, measured
from tests.lab import Lab, Node
from tests.lab.shells import run as command
from tests.lab.shells import say

HOSTS = 50
TAINT = {"key": "unshim.dev/bench", "effect": "NoSchedule"}


def run(rounds: int) -> bool:
    """Print a table; True when every node was read in every round."""
    lab = Lab.up(name="bench")
    try:
        known_hosts = prepare(lab)
        rows = [_round(lab, known_hosts, number + 1) for number in range(rounds)]
    finally:
        lab.down()
    return _report(rows)


def prepare(lab: Lab) -> Path:
    """Addresses, Node objects and host keys of all hosts; returns the known_hosts file."""
    workers = [node for node in lab.nodes if node.name.startswith("worker")]
    known = lab.known_hosts.read_text()
    nodes = []
    for number in range(HOSTS):
        worker, ip = workers[number % len(workers)], f"10.66.0.{101 + number}"
        command(["ip", "-n", worker.netns, "addr", "add", f"{ip}/24", "dev", "eth0"])
        known += f"{ip} {_host_key(known, worker)}\n"
        nodes.append(_node(lab.node_object(worker.name), names()[number], ip))
    path = lab.directory / "known_hosts.depth"
    path.write_text(known)
    listed = {"apiVersion": "v1", "kind": "List", "items": nodes}
    lab.kubectl("create", "-f", "-", input=json.dumps(listed))
    return path


def names() -> list[str]:
    return [f"depth-{number:02d}" for number in range(1, HOSTS + 1)]


def _host_key(known: str, worker: Node) -> str:
    """Type and key of the worker's line."""
    for line in known.splitlines():
        hosts, _, key = line.partition(" ")
        if worker.ip in hosts.split(",") or worker.name in hosts.split(","):
            return key
    raise RuntimeError(f"the lab's known_hosts has no line for {worker.name}")


def _node(like: dict[str, Any], name: str, ip: str) -> dict[str, Any]:
    """A Node as its kubelet registers it: with status. The taint keeps pods away."""
    labels = {**like["metadata"]["labels"], "kubernetes.io/hostname": name}
    status = {**like["status"], "addresses": [{"type": "InternalIP", "address": ip}]}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": [TAINT]},
        "status": {key: value for key, value in status.items() if key != "images"},
    }


def _round(lab: Lab, known_hosts: Path, number: int) -> dict[str, float]:
    cost, said = audit(lab, known_hosts)
    unread = [line for line in said.splitlines() if "was not read in depth" in line]
    for line in unread:
        say(line)
    row = {
        "wall": cost.wall,
        "cpu": cost.cpu,
        "rss": cost.rss,
        "read": float(HOSTS - len(unread)),
        "connections": float(len(re.findall(r"connected to Node depth-", said))),
    }
    say(f"round {number}: " + ", ".join(f"{key} {value:.1f}" for key, value in row.items()))
    return row


def audit(lab: Lab, known_hosts: Path) -> tuple[Cost, str]:
    """One audit of all hosts, and what it said on standard error."""
    argv = ["ip", "netns", "exec", lab.netns, *unshim.command("audit", *names(), "-o", "json")]
    env = unshim.environment(lab, UNSHIM_SSH_KNOWN_HOSTS_FILE=str(known_hosts))
    out, errors = lab.directory / "audit.json", lab.directory / "audit.err"
    cost = measured(argv, env, out, errors)
    said = errors.read_text()
    if cost.code not in (0, 1):  # 1: a finding is a blocker
        raise RuntimeError(f"the audit ended with {cost.code}: {said[-2000:]}")
    return cost, said


def _report(rows: list[dict[str, float]]) -> bool:
    middle = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
    print(f"\nAudit of {HOSTS} nodes in depth, all at once; medians of {len(rows)} rounds")
    for title, key in (
        ("seconds", "wall"),
        ("MB of memory", "rss"),
        ("processor seconds", "cpu"),
        ("SSH connections", "connections"),
    ):
        print(f"{title:<32} {middle[key]:>8.1f}")
    least = min(row["read"] for row in rows)
    print(f"{'nodes read, at least':<32} {least:>8.0f} {'= ' + str(HOSTS):>8}")
    return least == HOSTS
