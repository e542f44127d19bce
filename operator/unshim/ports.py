"""What the engine needs of the outside world. Adapters implement these; `wiring` joins them.

Adapters raise only errors of `unshim.errors` and translate every foreign exception at the boundary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from unshim.core.facts import NodeFacts, NodeRun
from unshim.core.objects import CanaryResult, Eviction, Manifest, Node, RunState, Stamp
from unshim.core.steps import FileChange, ScriptStep
from unshim.core.webhooks import Webhooks


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A finished remote script. `out` and `err` are decoded, bounded text."""

    code: int
    out: str
    err: str


class NodeShell(Protocol):
    """One SSH connection to one node. Used by one thread at a time."""

    def run(self, script: str, *, timeout: float) -> Completed:
        """Feed `script` to a root `sh -s` by standard input; return its outcome.

        `timeout` (seconds) is enforced on both sides. Raises NodeUnreachable when the connection is
        lost or the deadline passes without an answer.
        """

    def close(self) -> None: ...


class Connector(Protocol):
    """Opens connections to nodes."""

    def connect(self, host: str, *, node: str) -> NodeShell:
        """Connect to `host`, checking its host key under `host` and `node`.

        Raises NodeUnreachable (try again), HostKeyRejected, AuthenticationFailed or
        InvalidCredentials (refused).
        """


class Cluster(Protocol):
    """The API server, as far as one node's migration needs it."""

    def node(self, name: str) -> Node:
        """Raises NodeNotFound, ClusterUnavailable."""

    def nodes(self) -> Sequence[Node]:
        """Every node, without the heartbeats of Leases. Raises ClusterUnavailable, Forbidden."""

    def cordon(self, name: str, stamp: Stamp) -> None:
        """Set `unschedulable` and the stamp in one patch."""

    def uncordon(self, name: str, migration: str) -> bool:
        """Clear `unschedulable` and the stamp in one patch, if the stamp is `migration`'s.

        Returns False, having changed nothing, when the node does not carry this stamp.
        """

    def annotate(self, name: str, key: str, value: str | None) -> None:
        """Set one annotation of the node, or remove it."""

    def pods_on(self, name: str, *, cached: bool = False) -> Sequence[Manifest]:
        """Every pod bound to the node, terminal ones too.

        `cached` asks the API server's memory, which may lag a little. For polling: an exact list
        makes an old server read every pod of the cluster from etcd.
        """

    def labelled(self, namespace: str, labels: Mapping[str, str]) -> Sequence[Manifest]:
        """Pods of a namespace, on any node, that carry all of these labels."""

    def daemonset_exists(self, namespace: str, name: str) -> bool: ...

    def evict(self, pod: Manifest, *, grace_seconds: int | None, dry_run: bool) -> Eviction:
        """Evict through the discovered eviction API (policy/v1, before 1.22 policy/v1beta1)."""

    def delete_pod(self, pod: Manifest) -> None:
        """Delete a canary pod of ours; never any other."""

    def budgets(self, namespace: str) -> Sequence[Manifest]:
        """PodDisruptionBudgets of a namespace."""

    def volumes_of(self, pods: Sequence[Manifest]) -> Sequence[Manifest]:
        """PersistentVolumes that the pods' claims are bound to."""

    def runtime_classes_of(self, pods: Sequence[Manifest]) -> Sequence[Manifest]:
        """RuntimeClasses that the pods name."""

    def owners_of(self, pods: Sequence[Manifest]) -> Sequence[Manifest]:
        """The pods' controllers and those above them, such as a ReplicaSet and its Deployment."""

    def webhooks(self) -> Webhooks:
        """Admission webhooks, and who answers those that a run must pass.

        Empty where the server has none, and where we may not read them: no run waits for that.
        """

    def canary(self, node: str, run: str, image: str) -> CanaryResult:
        """Move the run's canary pod one step on (create, wait, log, exec, delete) and report."""

    def remove_canary(self, node: str, run: str) -> None: ...

    def acquire_lease(self, node: str, holder: str, seconds: int) -> int:
        """Take or renew the node's Lease; return its fencing token (leaseTransitions).

        Raises Busy, naming the holder, when another holder's Lease has not expired.
        """

    def release_lease(self, node: str, holder: str) -> None: ...

    def keep_report(self, migration: str, uid: str, texts: Mapping[str, str]) -> str:
        """Write the texts to the NodeMigration's ConfigMap, which goes when it goes.

        Returns its "namespace/name". Raises ClusterUnavailable, Forbidden, or Refused when a
        ConfigMap of this name is not ours.
        """

    def event(self, node: Node, reason: str, message: str, *, warning: bool) -> None: ...


class Migrations(Protocol):
    """NodeMigration objects: only their status is ever written."""

    def get(self, name: str) -> Manifest: ...

    def list(self) -> Sequence[Manifest]: ...

    def create(self, body: Mapping[str, object]) -> Manifest: ...

    def patch_status(self, name: str, status: Mapping[str, object]) -> None: ...


class Machine(Protocol):
    """One connection to one node, on behalf of one run. Used by one thread at a time.

    Every method that speaks to the runner returns the run as the node has it afterwards.
    Raises NodeUnreachable when the connection is lost, Busy when another process works on the node
    or a newer fencing token was seen, ForeignRun when another run is unfinished there.
    """

    def facts(self) -> NodeFacts: ...

    def runs(self) -> tuple[NodeRun, ...]:
        """The runs found on the node: quick, and needs neither Docker nor containerd."""

    def show(self) -> RunState: ...

    def upload(self, parts: Mapping[str, bytes]) -> RunState: ...

    def stage(self, token: int) -> RunState: ...

    def switch(self, token: int, dead_man_seconds: int, wait_seconds: int, until: str) -> RunState:
        """Arm the dead-man, start the transaction, and wait until step `until` is done.

        Returns sooner when the switch falls, or when `wait_seconds` have passed.
        """

    def wait(self, seconds: int) -> RunState: ...

    def confirm(self, token: int) -> RunState: ...

    def roll_back(self, reason: str) -> RunState: ...

    def reopen(self, token: int | None, reason: str) -> RunState:
        """Take a confirmed run back. No token: a person works without any API server."""

    def proof(self, leaving: str = "") -> Mapping[str, str]:
        """The node's own side of the proof, by name (see node/proof.sh).

        The processes of the pod with uid `leaving` get up to 2 s to go before it is taken.
        """

    def unpullable(
        self, variables: Mapping[str, str], hosts: Sequence[FileChange]
    ) -> Mapping[str, str]:
        """The images of UNSHIM_REHEARSE whose manifest containerd could not get, and why.

        `hosts` are the files below /etc/containerd/certs.d that it is going to have. Pulls nothing.
        """

    def checks(
        self, steps: Sequence[ScriptStep], variables: Mapping[str, str]
    ) -> Mapping[str, int]:
        """Exit code of each step's check, by step name; changes nothing."""

    def close(self) -> None: ...


class Machines(Protocol):
    """Opens a Machine for a node at its first reachable address."""

    def open(self, node: Node, run: str) -> Machine: ...


class Clock(Protocol):
    """Time, so that tests own it."""

    def now(self) -> datetime: ...

    def sleep(self, seconds: float) -> None: ...
