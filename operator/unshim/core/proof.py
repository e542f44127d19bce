"""Proof that a node works on a runtime: pure judgements over what the API and the node say.

The same checks prove containerd before the confirm and Docker after a rollback. Ready alone is no
proof: it stays True for 40 s after the kubelet stopped, and on one that took containerd's socket.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from unshim.core import daemons, eviction, flags
from unshim.core.facts import NodeFacts
from unshim.core.flags import CONTAINERD_SOCKET
from unshim.core.objects import CanaryResult, Manifest, Node

CONTAINERD = "containerd"
_ECHO = "node.kubernetes.io/not-ready="
_OURS = "node.kubernetes.io/unschedulable="  # the taint of the cordon itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that must hold. `message` says what was seen when it does not."""

    name: str
    ok: bool
    message: str = ""

    def as_status(self) -> dict[str, Any]:
        return {"name": self.name, "ok": self.ok, "message": self.message}


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The node before the run. `daemons` are the pods that must come back: `ds/namespace/name` or
    `static/namespace/name`, with whether they were Ready; those that were not are exempt.
    """

    cgroup_driver: str = ""
    allocatable: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[str, ...] = ()
    daemons: Mapping[str, bool] = field(default_factory=dict)
    endpoint: str = ""  # the kubelet's old --container-runtime-endpoint; empty: dockershim

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Baseline:
        """Missing parts are empty, and an empty part asks for nothing."""
        return cls(
            cgroup_driver=str(raw.get("cgroup_driver", "")),
            allocatable=dict(raw.get("allocatable") or {}),
            taints=tuple(raw.get("taints") or ()),
            daemons=dict(raw.get("daemons") or {}),
            endpoint=str(raw.get("endpoint", "")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The API's view at one instant. `since` is the node's own time of the change to be proven."""

    node: Node
    pods: tuple[Manifest, ...]
    since: datetime
    runtime: str = CONTAINERD  # or "docker", after a rollback


def baseline(node: Node, pods: Sequence[Manifest], facts: NodeFacts) -> Baseline:
    """What is true of the node now and must be true again."""
    kubelet = facts.kubelet
    return Baseline(
        cgroup_driver=kubelet.cgroup_driver if kubelet else "",
        allocatable=dict(node.allocatable),
        taints=_taints(node),
        daemons=daemons.states(pods),
        endpoint=_named(kubelet.argv) if kubelet else "",
    )


def judge_cluster(before: Baseline, reading: Reading) -> tuple[Check, ...]:
    """What the API server knows."""
    node = reading.node
    return (
        Check(name="ready", ok=node.ready, message="" if node.ready else _not_ready(node)),
        _heartbeat(node, reading.since),
        _runtime(node, reading.runtime),
        _containers(reading),
        _back(before, reading),
        _allocatable(before, node),
        _tainted(before, reading),
    )


def judge_node(
    before: Baseline, reading: Reading, facts: Mapping[str, str], canary: CanaryResult | None
) -> tuple[Check, ...]:
    """What the node itself says (`node/proof.sh`), and the canary when there is one."""
    checks = [
        _services(facts, reading.runtime),
        _kubelet_beats(reading.node, facts),
        _endpoint(before, facts, reading.runtime),
        _cgroup(before, facts, canary),
    ]
    if reading.runtime == CONTAINERD:
        checks += [_socket(facts), _leftovers(facts)]
    else:
        checks.append(_no_tasks(facts))
    if canary is not None:
        checks.append(canary_check(canary, facts))
    return tuple(checks)


def hold(checks: Sequence[Check]) -> bool:
    """Whether every one of them holds."""
    return all(check.ok for check in checks)


def summary(checks: Sequence[Check]) -> str:
    """What is still missing, in the order of the checks; the same text while nothing changes."""
    bad = [f"{check.name}: {check.message}" for check in checks if not check.ok]
    return "; ".join(bad) if bad else "every check holds"


def parse_facts(text: str) -> dict[str, str]:
    """The key=value lines of `node/proof.sh`."""
    lines = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key: value.strip() for key, _, value in lines}


def _not_ready(node: Node) -> str:
    return f"node {node.name} is not Ready: {node.not_ready_reason or 'no reason given'}"


def _heartbeat(node: Node, since: datetime) -> Check:
    """Both times are the node's own, so clocks need not agree."""
    fresh = node.heartbeat is not None and node.heartbeat > since
    seen = node.heartbeat.strftime("%H:%M:%S") if node.heartbeat else "none"
    want = since.strftime("%H:%M:%S")
    return _check("heartbeat", fresh, f"the newest heartbeat ({seen}) is not later than {want} UTC")


def _runtime(node: Node, runtime: str) -> Check:
    ok = node.runtime.startswith(f"{runtime}://")
    return _check("runtime", ok, f"the Node object says {node.runtime or 'nothing'}")


def _containers(reading: Reading) -> Check:
    """Every container the kubelet reports as running belongs to the runtime.

    A pod that is being deleted may show its old containers until the kubelet has settled it.
    """
    prefix = f"{reading.runtime}://"
    strangers = sorted(
        f"{_key(pod)}/{status.get('name')}"
        for pod in reading.pods
        if not eviction.finished(pod) and not pod["metadata"].get("deletionTimestamp")
        for status in (pod.get("status") or {}).get("containerStatuses") or ()
        if "running" in (status.get("state") or {})
        and not str(status.get("containerID", "")).startswith(prefix)
    )
    return _check("containers", not strangers, f"not {prefix}: {_some(strangers)}")


def _back(before: Baseline, reading: Reading) -> Check:
    now = daemons.states(reading.pods)
    missing = sorted(name for name, was in before.daemons.items() if was and not now.get(name))
    return _check("daemons", not missing, f"not Ready again: {_some(missing)}")


def _allocatable(before: Baseline, node: Node) -> Check:
    changed = sorted(
        f"{name} {was} -> {node.allocatable.get(name, 'nothing')}"
        for name, was in before.allocatable.items()
        if node.allocatable.get(name) != was
    )
    return _check("allocatable", not changed, _some(changed))


def _tainted(before: Baseline, reading: Reading) -> Check:
    """The node controller takes `not-ready` back up to 5 s after the node itself.

    The switch does not wait for that, Ready is asked; a node that is called restored has it gone.
    Those of other conditions (disk pressure, …) are new trouble.
    """
    new = sorted({*_taints(reading.node)} - {*before.taints})
    if reading.runtime == CONTAINERD:
        new = [taint for taint in new if not taint.startswith(_ECHO)]
    return _check("taints", not new, f"new since the run began: {_some(new)}")


def _services(facts: Mapping[str, str], runtime: str) -> Check:
    wanted = ("kubelet", "containerd" if runtime == CONTAINERD else "docker")
    down = [unit for unit in wanted if facts.get(f"{unit}_active") != "yes"]
    return _check("services", not down, f"not active: {', '.join(down)}")


def _kubelet_beats(node: Node, facts: Mapping[str, str]) -> Check:
    """The heartbeat comes from the kubelet that runs now, not from one that has died since."""
    started = facts.get("kubelet_started", "")
    if not started.isdigit():
        return _check("kubelet", False, "its start time could not be read")
    beat = node.heartbeat
    ok = beat is not None and beat >= datetime.fromtimestamp(int(started), UTC)
    return _check("kubelet", ok, "it has restarted since its last heartbeat")


def _endpoint(before: Baseline, facts: Mapping[str, str], runtime: str) -> Check:
    """The flag wins over the configuration file, as it does in the kubelet."""
    flag = _named(facts.get("kubelet_cmdline", "").split())
    named = _bare(flag or facts.get("kubelet_config_endpoint", ""))
    if runtime == CONTAINERD:
        ok = named == CONTAINERD_SOCKET
    else:
        ok = named != CONTAINERD_SOCKET and (not before.endpoint or named == _bare(before.endpoint))
    return _check("endpoint", ok, f"the running kubelet uses {named or 'no endpoint'}")


def _socket(facts: Mapping[str, str]) -> Check:
    """A kubelet below 1.24, given an endpoint and no --container-runtime=remote, takes it over."""
    if facts.get("socket_server") != CONTAINERD:
        return _check("socket", False, f"containerd does not answer at {CONTAINERD_SOCKET}")
    many = int(facts.get("socket_listeners") or 1) > 1
    return _check("socket", not many, f"more than one process listens at {CONTAINERD_SOCKET}")


def _leftovers(facts: Mapping[str, str]) -> Check:
    """Kubernetes' own containers in Docker, or any shim of a Docker that is stopped."""
    running = int(facts.get("docker_kubernetes") or 0)
    if running:
        return _check("leftovers", False, f"Docker still runs {running} containers of Kubernetes")
    orphans = int(facts.get("moby_shims") or 0) if facts.get("docker_active") != "yes" else 0
    return _check("leftovers", not orphans, f"{orphans} containers of the stopped Docker still run")


def _no_tasks(facts: Mapping[str, str]) -> Check:
    tasks = int(facts.get("ctr_tasks") or 0)
    return _check("leftovers", not tasks, f"containerd still runs {tasks} tasks of Kubernetes")


def _cgroup(before: Baseline, facts: Mapping[str, str], canary: CanaryResult | None) -> Check:
    """Pods' processes are where the kubelet's cgroup driver puts them.

    With a mismatch containerd makes paths such as `…slice:cri-containerd:ID`, and pods restart
    every few minutes without a clear error.
    """
    paths = canary.cgroup if canary else ""
    if int(facts.get("cgroup_mismatch") or 0) or ":cri-containerd:" in paths:
        return _check("cgroup", False, "the runtime's cgroup driver is not the kubelet's")
    systemd = int(facts.get("cgroup_systemd") or 0)
    cgroupfs = int(facts.get("cgroup_cgroupfs") or 0)
    wrong = {"systemd": cgroupfs, "cgroupfs": systemd}.get(before.cgroup_driver, 0)
    return _check(
        "cgroup",
        not wrong,
        f"{wrong} cgroups are not where the {before.cgroup_driver} driver puts them",
    )


def canary_check(canary: CanaryResult, facts: Mapping[str, str] | None = None) -> Check:
    """Everything the canary must show; the end of a deleted one is told by the node.

    The API server hears of that end only with the kubelet's next look at its pods (PLEG, 1 s), and
    old kubelets delete the object up to 10 s later.
    """
    shown = dict(canary.checks)
    if canary.leaving and facts is not None and "pod_uids" in facts:
        shown["terminated"] = canary.leaving not in facts["pod_uids"].split()
    missing = [name for name, ok in shown.items() if not ok]
    said = f" ({canary.message})" if canary.message else ""
    ok = bool(shown) and not missing
    return _check("canary", ok, f"not yet shown: {', '.join(missing) or 'anything'}{said}")


def _taints(node: Node) -> tuple[str, ...]:
    return tuple(taint for taint in node.taints if not taint.startswith(_OURS))


def _named(words: Sequence[str]) -> str:
    """The runtime endpoint of a kubelet's command line, or empty."""
    return flags.effective(words).get("container-runtime-endpoint", "")


def _bare(endpoint: str) -> str:
    """`unix:///var/run/x` and `/run/x` name the same socket."""
    path = endpoint.removeprefix("unix://")
    return path.replace("/var/run/", "/run/", 1) if path.startswith("/var/run/") else path


def _check(name: str, ok: bool, otherwise: str) -> Check:
    return Check(name=name, ok=ok, message="" if ok else otherwise)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _key(pod: Manifest) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
