"""The cluster around the nodes: budgets, other keepers of nodes, and notes that are out of date."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from unshim.audit import links, words
from unshim.audit.finding import Severity, Subject
from unshim.audit.rule import Hit, Survey, survey_rule
from unshim.audit.survey import condition
from unshim.audit.workloads import Workload, template_of
from unshim.core import selectors
from unshim.core.objects import CRI_SOCKET_ANNOTATION, Manifest

BLOCKER, WARNING, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO

_AUTOSCALER = re.compile(r"(?:^|/)cluster-autoscaler(?:-(?:amd64|arm64))?$")
_SPARED = "cluster-autoscaler.kubernetes.io/scale-down-disabled"


@survey_rule(
    "budget-without-room",
    WARNING,
    title="A PodDisruptionBudget never allows a disruption",
    why="It asks for every pod that there is, so no eviction of them ever succeeds, and every "
    "drain of a node with one of them runs into its time limit.",
    fix="Allow at least one pod to be away (maxUnavailable: 1), or add a replica.",
    link=f"{links.K8S}tasks/run-application/configure-pdb/",
)
def budget_without_room(survey: Survey) -> Iterator[Hit]:
    if survey.snapshot.targets:
        return  # eviction-blocked says so of the pods that are concerned
    for budget in survey.snapshot.budgets:
        if reason := _roomless(budget, survey):
            meta = budget["metadata"]
            yield Hit(
                message=reason,
                subject=Subject(
                    kind="PodDisruptionBudget",
                    namespace=meta.get("namespace", ""),
                    name=str(meta["name"]),
                ),
            )


def _roomless(budget: Manifest, survey: Survey) -> str:
    spec, status = budget.get("spec") or {}, budget.get("status") or {}
    if str(spec.get("maxUnavailable")) in ("0", "0%"):
        return f"maxUnavailable is {spec['maxUnavailable']}"
    if str(spec.get("minAvailable")) == "100%":
        return "minAvailable is 100%"
    pods, needed = status.get("expectedPods") or 0, status.get("desiredHealthy") or 0
    if not status:
        pods, needed = _declared(budget, survey), spec.get("minAvailable") or 0
    if isinstance(needed, int) and 0 < pods <= needed:
        return f"{needed} of {pods} pods must be healthy"
    return ""


def _declared(budget: Manifest, survey: Survey) -> int:
    """How many pods the controllers beside a budget ask for, where no status tells."""
    namespace = budget["metadata"].get("namespace", "")
    selector = (budget.get("spec") or {}).get("selector") or {}
    total = 0
    for controller in survey.controllers.get(namespace, ()):
        labels = ((template_of(controller) or {}).get("metadata") or {}).get("labels") or {}
        if controller.get("kind") in ("Deployment", "StatefulSet") and labels and selector:
            replicas = controller["spec"].get("replicas")
            mine = selectors.matches(selector, labels)
            total += (1 if replicas is None else int(replicas)) if mine else 0
    return total


@survey_rule(
    "other-node-not-ready",
    WARNING,
    title="Other nodes are not Ready",
    why="Pods that leave the node need a place, and a cluster that is ill before the migration "
    "hides what the migration does.",
    fix="Bring the nodes back, or take them out of the cluster, before the first migration.",
    link=f"{links.K8S}concepts/architecture/nodes/",
)
def other_node_not_ready(survey: Survey) -> Iterator[Hit]:
    if not survey.snapshot.whole_cluster:
        return
    own = {node.name for node in survey.nodes}
    names = sorted(
        str(node["metadata"]["name"])
        for node in survey.snapshot.nodes
        if node["metadata"]["name"] not in own and condition(node, "Ready").get("status") != "True"
    )
    if names:
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        yield Hit(
            message=f"{len(names)} of {len(survey.snapshot.nodes)}: {', '.join(names[:8])}{more}",
            subject=Subject(kind="Cluster", name="nodes"),
            nodes=tuple(names[:20]),
        )


@survey_rule(
    "cri-socket-stale",
    WARNING,
    title="kubeadm's note still names Docker on a node that runs containerd",
    why="kubeadm reads the runtime's socket from this annotation at the next upgrade. It would "
    "look for Docker, and fail or change the wrong runtime.",
    fix="`kubectl annotate node NODE --overwrite kubeadm.alpha.kubernetes.io/cri-socket="
    "unix:///run/containerd/containerd.sock`.",
    link=links.CHANGE_RUNTIME,
)
def cri_socket_stale(survey: Survey) -> Iterator[Hit]:
    targets = set(survey.snapshot.targets)
    for node in survey.snapshot.nodes:
        name = str(node["metadata"]["name"])
        value = (node["metadata"].get("annotations") or {}).get(CRI_SOCKET_ANNOTATION, "")
        info = (node.get("status") or {}).get("nodeInfo") or {}
        moved = str(info.get("containerRuntimeVersion", "")).startswith("containerd://")
        if moved and "docker" in value and (not targets or name in targets):
            yield Hit(
                message=f"{CRI_SOCKET_ANNOTATION} of {name} is {value}",
                subject=Subject(kind="Node", name=name),
                nodes=(name,),
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keeper:
    """Something in the cluster that cordons, drains, restarts or deletes nodes by itself."""

    images: str  # a pattern for the end of the repository path
    name: str
    does: str


_KEEPERS = (
    _Keeper(images="kured", name="kured", does="may drain and reboot the node in the middle"),
    _Keeper(
        images="system-upgrade-controller",
        name="System Upgrade Controller",
        does="drains and uncordons nodes by its own plans",
    ),
    _Keeper(
        images="(?:flatcar|container)-linux-update-operator",
        name="the Linux update operator",
        does="may drain and reboot the node in the middle",
    ),
    _Keeper(images="draino", name="Draino", does="drains nodes by their conditions"),
    _Keeper(
        images="node-healthcheck-operator|node-maintenance-operator",
        name="Medik8s",
        does="may cordon the node, or restart it when it is not Ready for some minutes",
    ),
    _Keeper(
        images="cluster-api-controller",
        name="Cluster API",
        does="may replace a machine that is not Ready (MachineHealthCheck)",
    ),
)


@survey_rule(
    "other-node-keeper",
    INFO,
    title="Something else also drains, restarts or replaces nodes",
    why="It knows nothing of the run. A reboot in the middle takes the node back to Docker, and an "
    "uncordon lets pods onto a node that is about to change.",
    fix="Pause it while nodes migrate.",
)
def other_node_keeper(survey: Survey) -> Iterator[Hit]:
    for workload, image in _images(survey):
        for keeper in _KEEPERS:
            if re.search(rf"(?:^|[/-])(?:{keeper.images})$", words.repository(image)[0]):
                yield Hit(
                    message=f"{keeper.name} ({image}) {keeper.does}",
                    subject=workload.subject,
                    chain=workload.chain,
                    source=workload.source,
                )


def _images(survey: Survey) -> Iterator[tuple[Workload, str]]:
    for workload in survey.everywhere:
        yield from ((workload, image) for image in sorted(set(workload.images)))


@survey_rule(
    "cluster-autoscaler",
    WARNING,
    title="The cluster autoscaler may remove a drained node",
    why="A node without pods looks unneeded, and after ten minutes (its default) the autoscaler "
    "deletes the machine: in the middle of a run, if that takes longer.",
    fix="Annotate the nodes with cluster-autoscaler.kubernetes.io/scale-down-disabled=true until "
    "they are migrated.",
    link="https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md",
)
def cluster_autoscaler(survey: Survey) -> Iterator[Hit]:
    nodes = tuple(n.name for n in survey.nodes if n.annotations.get(_SPARED) != "true")
    for workload, image in _images(survey) if nodes else ():
        if _AUTOSCALER.search(words.repository(image)[0]):
            yield Hit(
                message=f"{image} may remove {len(nodes)} nodes, such as {nodes[0]}",
                subject=workload.subject,
                nodes=nodes[:20],
                chain=workload.chain,
            )
