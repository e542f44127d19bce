"""What an audit looks at: cluster objects as the API serves them, and what SSH found on the nodes.

Made by `gather`, by the engine's preflight, or from manifest files (`manifests`). The rules read it
through a `Survey`; nothing here is ever changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from unshim.core.facts import NodeFacts
from unshim.core.objects import Eviction, Manifest, Node
from unshim.core.options import Options

#: Key under which a manifest read from a file carries "path:line".
SOURCE_KEY = "x-unshim-source"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One instant of a cluster. Every object is plain API JSON with its `kind`.

    `controllers` holds Deployments, StatefulSets, DaemonSets, ReplicaSets, ReplicationControllers,
    Jobs, CronJobs and PodTemplates. `whole_cluster` says that lists are complete, so that absence
    means something. `pull_failures` maps node to image to the reason why containerd would not get
    it.
    """

    now: datetime
    nodes: tuple[Manifest, ...] = ()
    pods: tuple[Manifest, ...] = ()
    controllers: tuple[Manifest, ...] = ()
    budgets: tuple[Manifest, ...] = ()
    volumes: tuple[Manifest, ...] = ()  # PersistentVolumes
    config_maps: tuple[Manifest, ...] = ()
    runtime_classes: tuple[Manifest, ...] = ()
    security_policies: tuple[Manifest, ...] = ()  # PodSecurityPolicies
    webhooks: tuple[Manifest, ...] = ()  # Validating- and MutatingWebhookConfigurations
    services: tuple[Manifest, ...] = ()  # which pods answer a webhook
    facts: Mapping[str, NodeFacts] = field(default_factory=dict)  # by Node name
    targets: tuple[str, ...] = ()  # Node names; empty: every node that runs Docker
    options: Options | None = None  # of the run this audit is the preflight of
    evictions: Mapping[str, Eviction] = field(default_factory=dict)  # "namespace/name" -> rehearsal
    pull_failures: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    operator_node: str = ""
    orphaned: frozenset[str] = (
        frozenset()
    )  # "namespace/name" of DaemonSets whose pods outlived them
    run: str = ""  # our own run's uid: its folder on the node is no obstacle
    whole_cluster: bool = True
    all_nodes: bool = True  # `nodes` is complete, whatever `whole_cluster` says

    def on_docker(self) -> tuple[str, ...]:
        """Names of the nodes that run Docker."""
        return tuple(node["metadata"]["name"] for node in self.nodes if runs_docker(node))


def runs_docker(node: Manifest) -> bool:
    """By the runtime that the kubelet reports, such as `docker://20.10.24`."""
    info = (node.get("status") or {}).get("nodeInfo") or {}
    return str(info.get("containerRuntimeVersion", "")).startswith("docker://")


def preflight(
    node: Node,
    pods: Sequence[Manifest],  # of this node, and those elsewhere that a rule asks about
    facts: NodeFacts | None,
    options: Options,
    *,
    now: datetime,
    peers: Sequence[Node] | None = None,
    **more: Any,
) -> Snapshot:
    """The snapshot of one node that a run is about to change. `more` sets further fields.

    `peers` are the cluster's other nodes, or at least its other control planes; without them the
    rules about quorum stay silent.
    """
    others = tuple(as_manifest(peer) for peer in peers or () if peer.name != node.name)
    known = {
        "whole_cluster": False,
        "all_nodes": peers is not None,
        "nodes": (as_manifest(node), *others),
        **more,
    }
    return Snapshot(
        now=now,
        pods=tuple(pods),
        facts={} if facts is None else {node.name: facts},
        targets=(node.name,),
        options=options,
        **known,
    )


def as_manifest(node: Node) -> Manifest:
    """A Node as the API would serve it, as far as the rules look."""
    labels = {"kubernetes.io/os": "linux", **node.labels}
    ready = {"type": "Ready", "status": "True" if node.ready else "False"}
    return {
        "kind": "Node",
        "metadata": {
            "name": node.name,
            "uid": node.uid,
            "labels": labels,
            "annotations": dict(node.annotations),
        },
        "spec": {"unschedulable": node.unschedulable, "providerID": node.provider_id},
        "status": {
            "nodeInfo": {
                "containerRuntimeVersion": node.runtime,
                "kubeletVersion": node.kubelet_version,
                "operatingSystem": labels["kubernetes.io/os"],
                "osImage": node.os_image,
            },
            "conditions": [{**ready, "message": node.not_ready_reason}],
            "allocatable": dict(node.allocatable),
        },
    }
