"""`ports.Cluster` over one Api: each method is one of the neighbouring modules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from unshim.cluster import events, leases, nodes, pods, reports, used, webhooks
from unshim.cluster.api import Api
from unshim.cluster.canary import Canaries
from unshim.core.objects import CanaryResult, Eviction, Manifest, Node, Stamp
from unshim.core.webhooks import Webhooks


class KubernetesCluster:
    """See ports.Cluster. Safe to share between threads."""

    def __init__(
        self,
        api: Api,
        *,
        lease_namespace: str = "kube-system",
        canary_namespace: str = "unshim-system",
        report_namespace: str = "unshim-system",
    ) -> None:
        self._api, self._lease_namespace = api, lease_namespace
        self._report_namespace = report_namespace
        self._evictions = pods.Evictions(api)
        self._canaries = Canaries(api, canary_namespace)

    @property
    def stats(self) -> Counter[str]:
        """Requests so far, by verb and resource."""
        return self._api.stats

    def node(self, name: str) -> Node:
        return nodes.read(self._api, name)

    def nodes(self) -> Sequence[Node]:
        return nodes.read_all(self._api)

    def cordon(self, name: str, stamp: Stamp) -> None:
        nodes.cordon(self._api, name, stamp)

    def uncordon(self, name: str, migration: str) -> bool:
        return nodes.uncordon(self._api, name, migration)

    def annotate(self, name: str, key: str, value: str | None) -> None:
        nodes.annotate(self._api, name, key, value)

    def pods_on(self, name: str, *, cached: bool = False) -> Sequence[Manifest]:
        return pods.on_node(self._api, name, cached=cached)

    def labelled(self, namespace: str, labels: Mapping[str, str]) -> Sequence[Manifest]:
        return pods.labelled(self._api, namespace, labels)

    def daemonset_exists(self, namespace: str, name: str) -> bool:
        return pods.daemonset_exists(self._api, namespace, name)

    def evict(self, pod: Manifest, *, grace_seconds: int | None, dry_run: bool) -> Eviction:
        return self._evictions.evict(pod, grace_seconds=grace_seconds, dry_run=dry_run)

    def delete_pod(self, pod: Manifest) -> None:
        pods.delete_canary(self._api, pod)

    def budgets(self, namespace: str) -> Sequence[Manifest]:
        return pods.budgets(self._api, namespace)

    def volumes_of(self, pods: Sequence[Manifest]) -> Sequence[Manifest]:
        return used.volumes(self._api, pods)

    def runtime_classes_of(self, pods: Sequence[Manifest]) -> Sequence[Manifest]:
        return used.runtime_classes(self._api, pods)

    def owners_of(self, pods: Sequence[Manifest]) -> Sequence[Manifest]:
        return used.owners(self._api, pods)

    def webhooks(self) -> Webhooks:
        return webhooks.behind(self._api)

    def canary(self, node: str, run: str, image: str) -> CanaryResult:
        return self._canaries.step(node, run, image)

    def remove_canary(self, node: str, run: str) -> None:  # noqa: ARG002  its name has the run
        self._canaries.remove(run)

    def acquire_lease(self, node: str, holder: str, seconds: int) -> int:
        return leases.acquire(self._api, self._lease_namespace, node, holder, seconds)

    def release_lease(self, node: str, holder: str) -> None:
        leases.release(self._api, self._lease_namespace, node, holder)

    def keep_report(self, migration: str, uid: str, texts: Mapping[str, str]) -> str:
        return reports.keep(self._api, self._report_namespace, migration, uid, texts)

    def event(self, node: Node, reason: str, message: str, *, warning: bool) -> None:
        events.post(self._api, node, reason, message, warning=warning)
