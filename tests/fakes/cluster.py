"""The API server: one Node object, the pods on it, and what holds for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from tests.fakes.node import FakeNode
from tests.fakes.world import DOCKERSHIM, World
from unshim.core import webhooks
from unshim.core.objects import (
    CRI_SOCKET_ANNOTATION,
    CanaryResult,
    Eviction,
    Manifest,
    Node,
    Stamp,
)
from unshim.core.webhooks import Webhooks
from unshim.errors import Forbidden

MASTER = {"node-role.kubernetes.io/master": ""}


@dataclass
class FakeCluster:
    """See ports.Cluster: one Node object, a Deployment's pod, a DaemonSet's pod."""

    world: World
    machine: FakeNode
    unschedulable: bool = False
    stamp: Stamp | None = None
    annotations: dict[str, str] = field(default_factory=lambda: {CRI_SOCKET_ANNOTATION: DOCKERSHIM})
    evicted: bool = False
    canary_life: str = ""  # of the canary pod: "" (there is none), made, leaving
    lease_holder: str = ""
    transitions: int = 0
    told: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=lambda: {"kubernetes.io/os": "linux"})
    peers: tuple[Node, ...] = ()
    reports: dict[str, Mapping[str, str]] = field(default_factory=dict)
    deleted: frozenset[str] = frozenset()  # DaemonSets, "namespace/name", whose pods are still here
    more_pods: tuple[Manifest, ...] = ()  # of this node; they stay until the drain
    elsewhere: tuple[Manifest, ...] = ()  # pods of other nodes
    controllers: tuple[Manifest, ...] = ()
    configurations: tuple[Manifest, ...] = ()  # of admission webhooks
    services: tuple[Manifest, ...] = ()
    no_reports: bool = False  # the API server forbids to write one

    def node(self, name: str) -> Node:
        return Node(
            name=name,
            uid="node-uid",
            unschedulable=self.unschedulable,
            ready=True,
            runtime=self.machine.runtime,
            kubelet_version="v1.20.2",
            heartbeat=None if self._silent() else self.world.clock.now() + timedelta(seconds=5),
            stamp=self.stamp,
            annotations=dict(self.annotations),
            labels=dict(self.labels),
            addresses={"InternalIP": "10.0.0.2"},
            allocatable={"cpu": "4", "pods": "110"},
        )

    def nodes(self) -> Sequence[Node]:
        return (self.node("worker-1"), *self.peers)

    def _silent(self) -> bool:
        """On the new runtime no heartbeat ever comes."""
        on_containerd = self.machine.runtime.startswith("containerd")
        return self.world.faults.never_proven and on_containerd

    def cordon(self, name: str, stamp: Stamp) -> None:
        def act() -> None:
            self.unschedulable, self.stamp = True, stamp

        self.world.effect("api:cordon", act)

    def uncordon(self, name: str, migration: str) -> bool:
        def act() -> bool:
            if self.stamp is None or self.stamp.migration != migration:
                return False
            self.unschedulable, self.stamp, self.evicted = False, None, False
            return True

        return self.world.effect("api:uncordon", act)  # type: ignore[no-any-return]

    def annotate(self, name: str, key: str, value: str | None) -> None:
        def act() -> None:
            if value is None:
                self.annotations.pop(key, None)
            else:
                self.annotations[key] = value

        self.world.effect("api:annotate", act)

    def pods_on(self, name: str, *, cached: bool = False) -> Sequence[Manifest]:
        prefix = self.machine.runtime.split(":", maxsplit=1)[0]
        found = [pod("agent", "DaemonSet", prefix)]
        if not self.evicted:
            found += [pod("web-1", "ReplicaSet", prefix), *self.more_pods]
        return found

    def labelled(self, namespace: str, labels: Mapping[str, str]) -> Sequence[Manifest]:
        pods = (*self.pods_on("worker-1"), *self.elsewhere)
        return [
            pod
            for pod in pods
            if pod["metadata"]["namespace"] == namespace
            and (pod["metadata"].get("labels") or {}).items() >= labels.items()
        ]

    def daemonset_exists(self, namespace: str, name: str) -> bool:
        return f"{namespace}/{name}" not in self.deleted

    def evict(self, pod: Manifest, *, grace_seconds: int | None, dry_run: bool) -> Eviction:
        def act() -> Eviction:
            if self.world.faults.never_drained:
                return Eviction(verdict="blocked", message="PDB apps/web needs 1 of 1")
            self.evicted = self.evicted or not dry_run
            return Eviction(verdict="evicted")

        return self.world.effect("api:evict", act)  # type: ignore[no-any-return]

    def delete_pod(self, pod: Manifest) -> None:
        raise AssertionError("only canaries are ever deleted")

    def budgets(self, namespace: str) -> Sequence[Manifest]:
        return []

    def volumes_of(self, pods: Sequence[Manifest]) -> Sequence[Manifest]:
        return []

    def runtime_classes_of(self, pods: Sequence[Manifest]) -> Sequence[Manifest]:
        return []

    def owners_of(self, pods: Sequence[Manifest]) -> Sequence[Manifest]:
        known = {(c["kind"], c["metadata"]["name"]): c for c in self.controllers}
        found: list[Manifest] = []
        below = list(pods)
        while below:
            references = below.pop()["metadata"].get("ownerReferences", ())
            above = [known[key] for r in references if (key := (r["kind"], r["name"])) in known]
            found, below = [*found, *above], [*below, *above]
        return found

    def webhooks(self) -> Webhooks:
        pods = tuple(
            pod
            for service in self.services
            for pod in self.labelled(service["metadata"]["namespace"], webhooks.selector(service))
        )
        return Webhooks(
            configurations=self.configurations, services=tuple(self.services), pods=pods
        )

    def canary(self, node: str, run: str, image: str) -> CanaryResult:
        """Made, run by the new kubelet, deleted; its last processes go as soon as it is."""

        def act() -> CanaryResult:
            if not self.canary_life or not self.machine.runtime.startswith("containerd"):
                self.canary_life = self.canary_life or "made"
                return CanaryResult(checks={"ran": False, "terminated": False})
            self.canary_life = "leaving"
            checks = {"ran": True, "terminated": False}
            return CanaryResult(checks=checks, leaving="canary-uid")

        return self.world.effect("api:canary", act)  # type: ignore[no-any-return]

    def remove_canary(self, node: str, run: str) -> None:
        def act() -> None:
            self.canary_life = ""

        if self.canary_life:
            self.world.effect("api:remove-canary", act)

    def acquire_lease(self, node: str, holder: str, seconds: int) -> int:
        if holder != self.lease_holder:
            self.lease_holder, self.transitions = holder, self.transitions + 1
        return self.transitions

    def release_lease(self, node: str, holder: str) -> None:
        pass

    def keep_report(self, migration: str, uid: str, texts: Mapping[str, str]) -> str:
        def act() -> str:
            if self.no_reports:
                raise Forbidden("the API server forbids: write a ConfigMap")
            self.reports[migration] = texts
            return f"unshim-system/report-{migration}"

        return self.world.effect("api:keep-report", act)  # type: ignore[no-any-return]

    def event(self, node: Node, reason: str, message: str, *, warning: bool) -> None:
        self.told.append(reason)


def control_plane(name: str, *, ready: bool = True) -> Node:
    return Node(
        name=name,
        uid=name,
        unschedulable=False,
        ready=ready,
        runtime="docker://20.10.24",
        kubelet_version="v1.20.2",
        heartbeat=None,
        labels=MASTER,
    )


def pod(name: str, owner: str, prefix: str) -> Manifest:
    """A Ready pod of namespace apps, owned by a controller."""
    return {
        "metadata": {
            "name": name,
            "namespace": "apps",
            "uid": f"uid-{name}",
            "ownerReferences": [
                {"kind": owner, "name": name, "controller": True, "apiVersion": "apps/v1"}
            ],
        },
        "spec": {
            "nodeName": "worker-1",
            "containers": [{"name": "c", "image": "registry.lab:5000/apps/web:1"}],
        },
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [
                {"name": "c", "ready": True, "containerID": f"{prefix}://abc{name}"}
            ],
        },
    }
