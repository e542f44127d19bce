"""Cluster objects as the core sees them: frozen views of what the API server said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from unshim.core.journal import Journal

STAMP_ANNOTATION = "unshim.dev/cordoned"
CRI_SOCKET_ANNOTATION = "kubeadm.alpha.kubernetes.io/cri-socket"

#: Label of our canary pods; its value is the uid of the run.
CANARY_LABEL = "unshim.dev/canary"

#: kubeadm's members of etcd: their namespace, and the labels of their pods.
ETCD_NAMESPACE, ETCD_LABELS = "kube-system", {"component": "etcd"}

#: A pod, PodDisruptionBudget, … as plain API JSON (camelCase keys).
Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """Our claim on a cordon, written in the same patch as `unschedulable: true`."""

    migration: str  # uid of the run that cordoned
    at: datetime  # UTC; the drain's time limit counts from here


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A Node object with the kubelet's Lease."""

    name: str
    uid: str
    unschedulable: bool
    ready: bool
    runtime: str  # status.nodeInfo.containerRuntimeVersion, "docker://20.10.24"
    kubelet_version: str  # "v1.20.2"
    heartbeat: datetime | None  # newest of the Ready condition's heartbeat and the Lease's renewal
    stamp: Stamp | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)  # "InternalIP" -> address
    allocatable: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[str, ...] = ()  # "key=value:Effect"
    provider_id: str = ""  # spec.providerID: which cloud's machine it is
    os_image: str = ""  # status.nodeInfo.osImage, "Debian GNU/Linux 12 (bookworm)"
    not_ready_reason: str = ""  # message of the Ready condition when it is not True

    @property
    def control_plane(self) -> bool:
        return any(
            f"node-role.kubernetes.io/{role}" in self.labels for role in ("control-plane", "master")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Eviction:
    """How the API server answered one eviction.

    `verdict`: "evicted" | "gone" | "blocked" (429: a PodDisruptionBudget or rate limit) |
    "refused" (permanent: two budgets match, forbidden, …).
    """

    verdict: str
    message: str = ""
    retry_after: float = 0.0  # seconds, 0 when the server gave none


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryResult:
    """What the canary pod could do so far.

    `leaving` is the uid of a pod that has shown everything but its end and was deleted: whether its
    processes are gone, the node itself says.
    """

    checks: Mapping[str, bool] = field(default_factory=dict)  # "pulled", "ran", "logged", …
    message: str = ""
    cgroup: str = ""  # the paths of /proc/self/cgroup as the canary saw them, one a line
    leaving: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """One run as its node has it: the only record the engine trusts."""

    journal: Journal = field(default_factory=Journal)
    verdict: str = ""  # "", "confirmed" or "rolled-back <reason>"
    meta: Mapping[str, Any] = field(default_factory=dict)  # meta.json of the bundle
    now: int = 0  # the node's clock, seconds since 1970
