"""Control-plane nodes: what taking one down means for the API and for etcd."""

from __future__ import annotations

from collections.abc import Iterator

from unshim.audit import links
from unshim.audit.finding import Severity
from unshim.audit.rule import Hit, NodeView, Survey, node_rule
from unshim.audit.survey import condition, is_control_plane
from unshim.audit.words import repository
from unshim.core.objects import ETCD_LABELS, ETCD_NAMESPACE, Manifest

BLOCKER, WARNING, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO


@node_rule(
    "single-control-plane",
    WARNING,
    title="This is the only control plane",
    why="The API server is down during the switch, usually for less than a minute. Nothing can be "
    "scheduled meanwhile. The node finishes or rolls back by itself.",
    fix="Choose a quiet time, and take a backup of etcd before.",
    link=f"{links.K8S}setup/production-environment/tools/kubeadm/ha-topology/",
)
def single_control_plane(node: NodeView, survey: Survey) -> Iterator[Hit]:
    if not node.control_plane or not survey.snapshot.all_nodes:
        return
    if len(_control_planes(survey)) == 1:
        yield Hit(message=f"{node.name} is the only control-plane node")


def _control_planes(survey: Survey) -> list[Manifest]:
    return [node for node in survey.snapshot.nodes if is_control_plane(node)]


@node_rule(
    "etcd-quorum",
    BLOCKER,
    title="etcd would lose its quorum",
    why="One control-plane node goes down during its switch. The others must still be a majority, "
    "or no write to the API succeeds until the node is back.",
    fix="Bring the other control-plane nodes back to Ready first. With two members there is never "
    "a majority: treat them as a single one, or add a third.",
    link="https://etcd.io/docs/v3.5/faq/",
)
def etcd_quorum(node: NodeView, survey: Survey) -> Iterator[Hit]:
    if not node.control_plane or not survey.snapshot.all_nodes:
        return
    members = _control_planes(survey)
    if len(members) < 2:
        return
    others = [m for m in members if m["metadata"]["name"] != node.name]
    ill = _ill_members(survey)
    healthy = sum(
        condition(m, "Ready").get("status") == "True" and m["metadata"]["name"] not in ill
        for m in others
    )
    if healthy * 2 <= len(members):
        sick = sorted(ill & {str(m["metadata"]["name"]) for m in others})
        more = f"; etcd is not well on {', '.join(sick)}" if sick else ""
        yield Hit(
            message=f"without {node.name}, {healthy} of {len(members)} control planes are well"
            f"{more}",
            severity=WARNING if len(members) == 2 and healthy == 1 else BLOCKER,
        )


def _ill_members(survey: Survey) -> set[str]:
    """Nodes whose etcd pod says of itself that it is not ready."""
    return {
        str(pod["spec"].get("nodeName", ""))
        for pod in survey.snapshot.pods
        if pod["metadata"].get("namespace") == ETCD_NAMESPACE
        and (pod["metadata"].get("labels") or {}).items() >= ETCD_LABELS.items()
        and condition(pod, "Ready").get("status") == "False"
    }


@node_rule(
    "etcd-in-docker",
    BLOCKER,
    title="etcd runs as a plain Docker container",
    why="Kubespray's etcd_deployment_type=docker runs etcd outside Kubernetes. Stopping Docker "
    "stops etcd.",
    fix="Move etcd to the host first (etcd_deployment_type: host).",
    link="https://github.com/kubernetes-sigs/kubespray/blob/master/docs/upgrades/"
    "migrate_docker2containerd.md",
)
def etcd_in_docker(node: NodeView, _: Survey) -> Iterator[Hit]:
    docker = node.facts.docker if node.facts else None
    for container in docker.foreign if docker else ():
        name = container.name.lstrip("/")
        if name.startswith("etcd") or repository(container.image)[0].rpartition("/")[2] == "etcd":
            yield Hit(message=f"container {name} ({container.image}) on {node.name}")


@node_rule(
    "control-plane-node",
    INFO,
    title="This is a control-plane node",
    why="Its static pods stop and start with the runtime.",
    fix="Migrate a worker first, then the control planes one by one.",
    link=f"{links.K8S}tasks/configure-pod-container/static-pod/",
)
def control_plane_node(node: NodeView, _: Survey) -> Iterator[Hit]:
    if node.control_plane:
        yield Hit(message=f"{node.name} runs static pods of the control plane")
