"""A whole lab: brought up from a snapshot when there is one, taken down without a trace."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.lab import builds, cluster, network
from tests.lab.nodes import STORES, Node
from tests.lab.places import CACHE, HERE, RUNS, cached, key
from tests.lab.shells import run, say, wait

SOURCES = ("archives.py", "builds.py", "cluster.py", "network.py", "shell/rootfs.sh",
           "shell/kubernetes.sh", "shell/pause.c", "manifests/apps.yaml")  # fmt: skip


class Lab:
    """One running lab. Use `Lab.up` and `down`."""

    def __init__(self, name: str, workers: int) -> None:
        self.name, self.workers = name, workers
        self.directory = RUNS / name
        self.names = ["cp-1", *(f"worker-{i}" for i in range(1, workers + 1))]
        self.nodes = [
            Node(name, node, self.directory / "nodes" / node, self.directory / "ssh")
            for node in self.names
        ]

    # -- life ---------------------------------------------------------------------------------

    @classmethod
    def up(cls, name: str = "lab", workers: int = 2, foreign: str | None = None) -> Lab:
        """A fresh lab: every node Ready on Docker, every workload running."""
        lab = cls(name, workers)
        builds.packages(builds.TOOLS)
        lab.down()
        lab._restore(lab._snapshot())
        lab._start()
        lab.wait_ready()
        if foreign:
            lab.start_foreign(foreign)
        return lab

    @classmethod
    def attach(cls, name: str = "lab") -> Lab:
        """The lab of this name as it runs now."""
        saved = json.loads((RUNS / name / "lab.json").read_text())
        return cls(name, saved["workers"])

    def reset(self) -> None:
        """Back to the snapshot."""
        self.down()
        self._restore(self._snapshot())
        self._start()
        self.wait_ready()

    def down(self) -> None:
        """Kill what we started, unmount, delete. Safe to repeat, and after a crash."""
        for node in self._leftovers():
            node.power_cut()
            if os.path.ismount(node.directory / "root"):
                run(["umount", "-l", str(node.directory / "root")])
            _remove_cgroups(node.cgroup)
        self._kill("registry.pid")
        network.remove(self.name)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _leftovers(self) -> list[Node]:
        folder = self.directory / "nodes"
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return [Node(self.name, name, folder / name, self.directory / "ssh") for name in names]

    def _kill(self, file: str) -> None:
        try:
            pid = int((self.directory / file).read_text())
            if b"docker-registry" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGTERM)
        except (OSError, ValueError):
            return

    # -- snapshot -----------------------------------------------------------------------------

    def _snapshot(self) -> Path:
        """The folder of a booted, loaded, shut down cluster; made once."""
        binaries = builds.kubernetes()
        version = builds.kubernetes_version(binaries)
        name = key(*(HERE / s for s in SOURCES), version, str(self.workers))
        target = cached("snapshot", name)
        if not target.exists():
            self._make_snapshot(target, binaries, version)
        return target

    def _make_snapshot(self, target: Path, binaries: Path, version: str) -> None:
        say("making a cluster from scratch")
        builds.rootfs()
        builds.images(binaries)
        self.directory.mkdir(parents=True, exist_ok=True)
        cluster.ssh_keys(self.directory / "ssh", self.names)
        for node in self.nodes:
            node.directory.mkdir(parents=True)
            cluster.furnish(node, self.names, self.directory / "ssh")
        self._start()
        cluster.install(self.nodes, version)
        self._kubeconfig()
        names = [f"node/{name}" for name in self.names]
        self.kubectl("wait", "--for=condition=Ready", *names, "--timeout=120s", timeout=150)
        self.kubectl("apply", "-f", str(cluster.manifest()))
        self.wait_ready(timeout=300)
        say("shutting down and keeping a snapshot")
        for node in reversed(self.nodes):
            node.exec(
                "systemctl stop kubelet; docker ps -q | xargs -r docker stop -t 2", timeout=200
            )
        for node in self.nodes:
            node.shutdown()
        half = target.with_name(target.name + ".half")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        for name in ("ssh", "registry", "kubeconfig"):
            run(["cp", "-a", str(self.directory / name), str(half)])
        for node in self.nodes:
            kept = half / "nodes" / node.name
            kept.mkdir(parents=True)
            for store in ("upper", *STORES):
                run(["cp", "-a", str(node.directory / store), str(kept)])
        half.rename(target)
        self.down()

    def _restore(self, snapshot: Path) -> None:
        say("restoring the snapshot")
        self.directory.mkdir(parents=True, exist_ok=True)
        for name in ("ssh", "registry", "kubeconfig"):
            run(["cp", "-a", str(snapshot / name), str(self.directory)])
        for node in self.nodes:
            node.directory.mkdir(parents=True)
            for store in STORES:
                run(["cp", "-a", str(snapshot / "nodes" / node.name / store), str(node.directory)])
            (node.directory / "lower").write_text(str(snapshot / "nodes" / node.name / "upper"))

    def _start(self) -> None:
        say("booting " + ", ".join(self.names))
        cluster.ssh_config(self.directory / "ssh", self.names)
        (self.directory / "lab.json").write_text(json.dumps({"workers": self.workers}))
        network.create(self.name, self.names)
        pid = cluster.registry(self.name, self.directory)
        (self.directory / "registry.pid").write_text(str(pid))
        binaries = builds.kubernetes()
        for node in self.nodes:
            lower = node.directory / "lower"
            own = [Path(lower.read_text())] if lower.exists() else []
            node.boot([*own, builds.rootfs()], binaries, builds.images(binaries))
        for node in self.nodes:
            node.wait_booted()

    def _kubeconfig(self) -> None:
        cluster.kubeconfig(self.nodes[0], self.kubeconfig)

    # -- where things are ---------------------------------------------------------------------

    @property
    def netns(self) -> str:
        return network.namespace(self.name)

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    @property
    def ssh_key(self) -> Path:
        return self.directory / "ssh" / "key"

    @property
    def known_hosts(self) -> Path:
        return self.directory / "ssh" / "known_hosts"

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    # -- doing things -------------------------------------------------------------------------

    def run(self, *argv: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """A command in the lab's own namespace."""
        return run(["ip", "netns", "exec", self.netns, *argv], **more)

    def popen(self, *argv: str, **more: Any) -> subprocess.Popen[bytes]:
        # ip(8) execs the command, so the pid is the command's own
        return subprocess.Popen(["ip", "netns", "exec", self.netns, *argv], **more)

    def kubectl_argv(self, *args: str) -> list[str]:
        return [str(builds.kubernetes() / "kubectl"), "--kubeconfig", str(self.kubeconfig), *args]

    def kubectl(self, *args: str, input: str | None = None, timeout: float = 120) -> str:
        return self.run(*self.kubectl_argv(*args), input=input, timeout=timeout).stdout

    def get(self, *args: str) -> Any:
        return json.loads(self.kubectl("get", *args, "-o", "json"))

    def node_object(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get("node", name)
        return found

    def wait(self, condition: Callable[[], object], timeout: float, what: str) -> None:
        wait(condition, timeout, what, every=0.25)

    def audit_log(self) -> list[dict[str, Any]]:
        """Every API request since the lab came up, oldest first."""
        text = self.nodes[0].exec("cat /etc/kubernetes/audit/log", timeout=60).stdout
        return [json.loads(line) for line in text.splitlines() if line]

    def start_foreign(self, node: str) -> None:
        """A container that Kubernetes does not own."""
        image = "lab.test/agent:1"
        self.node(node).exec(f"docker run -d --name legacy --restart=always {image}")

    def wait_ready(self, timeout: float = 180) -> None:
        """Every node Ready with a fresh heartbeat, every pod of ours running and Ready."""
        wait(self._ready, timeout, "every node and pod to be Ready", every=0.5)
        say("every node and pod is Ready")

    def _ready(self) -> bool:
        try:
            nodes, pods = self.get("nodes")["items"], self.get("pods", "-A")["items"]
            leases = self.get("leases", "-n", "kube-node-lease")["items"]
        except RuntimeError:
            return False
        fresh = {lease["metadata"]["name"]: lease["spec"]["renewTime"] for lease in leases}
        since = self._booted_at()
        good = [n for n in nodes if _condition(n, "Ready")
                and fresh.get(n["metadata"]["name"], "") > since]  # fmt: skip
        return len(good) == len(self.names) and _all_back(pods, since)

    def _booted_at(self) -> str:
        moment = (self.directory / "lab.json").stat().st_mtime
        return run(["date", "-u", "-d", f"@{moment}", "+%Y-%m-%dT%H:%M:%S"]).stdout.strip()


def _all_back(pods: Sequence[dict[str, Any]], since: str) -> bool:
    """Ready, with every container started after the boot: stale statuses do not count."""
    ours = [pod for pod in pods if pod["metadata"]["namespace"] == "apps"]
    kept = [pod for pod in ours if pod["status"].get("phase") not in ("Succeeded", "Failed")]
    started = [
        status.get("state", {}).get("running", {}).get("startedAt", "")
        for pod in kept
        for status in pod["status"].get("containerStatuses", [{}])
    ]
    ready = all(_condition(pod, "Ready") for pod in kept)
    return len(kept) >= 7 and ready and all(at >= since for at in started)


def _condition(thing: dict[str, Any], kind: str) -> bool:
    conditions = thing.get("status", {}).get("conditions", [])
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)


def _remove_cgroups(name: str) -> None:
    """Kill what is left inside and delete the folders, deepest first."""
    for controller in Path("/sys/fs/cgroup").iterdir():
        top = controller / name
        if not top.is_dir():
            continue
        for folder, _, _ in os.walk(top, topdown=False):
            for pid in (Path(folder) / "cgroup.procs").read_text().split():
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    continue
            try:
                os.rmdir(folder)
            except OSError:
                continue


__all__ = ["CACHE", "Lab"]
