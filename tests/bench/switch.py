"""One node's migration by unshim and by the public procedure, in the same lab.

Each round migrates worker-1 with unshim and worker-2 with `kubectl drain` and official.sh.
Node-down time runs from the last old container's end to the new runtime's proof: for unshim that is
its verdict; for the script, which proves nothing, the API server's word that the DaemonSet is back.
Medians over the rounds; the machines that run this are noisy.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import operator_process as unshim
from tests.lab import Lab, Node

POLL_SECONDS = 0.02


@dataclass
class Watch:
    """Looks at one node from outside: its pods' processes, and what the API server says of it.

    The API server is watched, not asked: on two cores each `kubectl get` would slow down what it
    measures.
    """

    lab: Lab
    node: Node
    emptied: float = 0.0  # when the last old container's process was gone
    back: float = 0.0  # when the API server said: containerd, and the DaemonSet Ready on it
    cordoned: float = 0.0
    uncordoned: float = 0.0
    _runtime: str = ""
    _daemons: dict[str, bool] = field(default_factory=dict)  # pod -> Ready under containerd
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _watches: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Watch:
        self._start(self._processes)
        self._start(self._follow, self._node, "node", self.node.name)
        self._start(self._follow, self._pod, "pods", "-n", "apps", "-l", "app=agent")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for process in self._watches:
            process.terminate()
        for thread in self._threads:
            thread.join(timeout=10)
        for process in self._watches:
            process.wait(timeout=10)

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        self._threads.append(threading.Thread(target=target, args=args, daemon=True))
        self._threads[-1].start()

    def _processes(self) -> None:
        pods = Path("/sys/fs/cgroup/pids") / self.node.cgroup / "kubepods"
        while not self._stop.wait(POLL_SECONDS):
            if not self.emptied and not _running(pods):
                self.emptied = time.time()

    def _follow(self, take: Callable[[Any], None], *what: str) -> None:
        process = self.lab.popen(
            *self.lab.kubectl_argv("get", *what, "--watch", "-o", "json"), stdout=subprocess.PIPE
        )
        self._watches.append(process)
        assert process.stdout is not None
        lines: list[bytes] = []
        for line in process.stdout:  # one indented object after the other
            lines.append(line)
            if line == b"}\n":
                take(json.loads(b"".join(lines)))
                lines.clear()

    def _node(self, node: Any) -> None:
        now, cordoned = time.time(), bool(node["spec"].get("unschedulable"))
        if cordoned and not self.cordoned:
            self.cordoned = now
        if self.cordoned and not cordoned and not self.uncordoned:
            self.uncordoned = now
        self._runtime = node["status"]["nodeInfo"]["containerRuntimeVersion"]
        self._note_back()

    def _pod(self, pod: Any) -> None:
        if pod["spec"].get("nodeName") == self.node.name:
            statuses = pod["status"].get("containerStatuses", [])
            self._daemons[pod["metadata"]["name"]] = bool(statuses) and all(
                s.get("ready") and s.get("containerID", "").startswith("containerd://")
                for s in statuses
            )
            self._note_back()

    def _note_back(self) -> None:
        there = bool(self._daemons) and all(self._daemons.values())
        if self.emptied and not self.back and self._runtime.startswith("containerd") and there:
            self.back = time.time()


def _running(folder: Path) -> bool:
    """Whether any process lives in a cgroup below `folder`."""
    for root, _, _ in os.walk(folder):
        try:
            if (Path(root) / "cgroup.procs").read_text().strip():
                return True
        except OSError:
            continue
    return False


Row = dict[str, float]


def by_unshim(lab: Lab) -> Row:
    node = lab.node("worker-1")
    with Watch(lab, node) as watch:
        done = unshim.cli(lab, "migrate", node.name, "--delete-emptydir-data", "-v", timeout=200)
        lab.wait(lambda: watch.back and watch.uncordoned, 30, "the API server to say so")
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)
    said = done.stdout + done.stderr
    return {
        "down": _verdict(node) - watch.emptied,
        "daemons": watch.back - watch.emptied,
        "cordoned": watch.uncordoned - watch.cordoned,
        "switch": _switch_seconds(node),
        "connections": _number(said, r"connections=(\d+)"),
        "execs": _number(said, r"execs=(\d+)"),
        "requests": _number(said, r"API requests (\d+)"),
    }


def by_script(lab: Lab) -> Row:
    node = lab.node("worker-2")
    script = (Path(__file__).parent / "official.sh").read_text()
    socket = "kubeadm.alpha.kubernetes.io/cri-socket=unix:///run/containerd/containerd.sock"
    with Watch(lab, node) as watch:
        lab.kubectl("drain", node.name, "--ignore-daemonsets", "--delete-emptydir-data")
        started = time.time()
        node.ssh(script)
        switched = time.time() - started
        lab.kubectl("annotate", "--overwrite", "node", node.name, socket)
        lab.wait(lambda: watch.back, 120, "the DaemonSet to be back")
        lab.kubectl("uncordon", node.name)
        lab.wait(lambda: watch.uncordoned, 30, "the uncordon to show")
    down = watch.back - watch.emptied
    cordoned = watch.uncordoned - watch.cordoned
    return {"down": down, "daemons": down, "cordoned": cordoned, "switch": switched}


def _verdict(node: Node) -> float:
    """When the node's verdict was created, seconds since 1970."""
    return float(node.exec("stat -c %.Y /var/lib/unshim/*/verdict").stdout)


def _switch_seconds(node: Node) -> float:
    """How long the unit of the switch ran, by the node's journald."""
    text = node.exec(
        "journalctl --no-pager -o short-unix | grep -E 'unshim-switch-[^ ]*.service' "
        "| grep -E 'Started|Deactivated' || true"
    ).stdout
    times = [float(line.split()[0]) for line in text.splitlines()]
    return times[-1] - times[0] if len(times) > 1 else float("nan")


def _number(text: str, pattern: str) -> float:
    found = re.findall(pattern, text)
    return float(found[-1]) if found else float("nan")


def run(rounds: int) -> bool:
    """Print a table."""
    ours: list[Row] = []
    theirs: list[Row] = []
    lab = Lab.up(name="bench")
    try:
        for number in range(rounds):
            if number:
                lab.reset()
            unshim.install(lab)
            ours.append(by_unshim(lab))
            theirs.append(by_script(lab))
            print(f"round {number + 1}: unshim {_short(ours[-1])}; script {_short(theirs[-1])}")
    finally:
        lab.down()
    _report(ours, theirs)
    return True


def _short(row: Row) -> str:
    return ", ".join(f"{key} {value:.1f}" for key, value in row.items())


def _report(ours: list[Row], theirs: list[Row]) -> None:
    print(f"\nMedians of {len(ours)} rounds           unshim   script   ratio")
    rows: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
        ("node-down seconds (proven)", "down", "{:.1f}".format),
        ("  of these, DaemonSet back", "daemons", "{:.1f}".format),
        ("seconds in the switch", "switch", "{:.1f}".format),
        ("seconds cordoned", "cordoned", "{:.1f}".format),
        ("SSH connections", "connections", "{:.0f}".format),
        ("SSH execs", "execs", "{:.0f}".format),
        ("API requests", "requests", "{:.0f}".format),
    )
    for title, key, text in rows:
        mine = statistics.median(row[key] for row in ours)
        other = [row[key] for row in theirs if key in row]
        theirs_text = text(statistics.median(other)) if other else "-"
        ratio = f"{mine / statistics.median(other):.2f}" if other else "-"
        print(f"{title:<32} {text(mine):>8} {theirs_text:>8} {ratio:>7}")
