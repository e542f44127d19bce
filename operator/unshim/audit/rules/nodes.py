"""Which machine this is, and whether a run may begin there at all."""

from __future__ import annotations

from collections.abc import Iterator

from unshim.audit import links
from unshim.audit.finding import Severity
from unshim.audit.rule import Hit, NodeView, Survey, node_rule
from unshim.audit.survey import condition
from unshim.core import journal
from unshim.core.facts import NodeRun
from unshim.core.objects import CRI_SOCKET_ANNOTATION

BLOCKER, WARNING, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO

#: Labels, annotations or version suffixes of installers whose nodes need another procedure.
_FOREIGN_MARKS = {
    "minikube.k8s.io/name": "minikube",
    "microk8s.io/cluster": "MicroK8s",
    "k3s.io/hostname": "k3s",
    "k3s.io/node-args": "k3s",
    "rke.cattle.io/external-ip": "RKE1",
    "rke.cattle.io/internal-ip": "RKE1",
    "io.x-k8s.kind.role": "kind",
}
_FOREIGN_VERSIONS = {"+k3s": "k3s", "+rke2": "RKE2", "+k0s": "k0s"}
#: Containers that hold the kubelet of distributions that run it in Docker.
_KUBELET_CONTAINERS = {"kubelet": "RKE1", "ucp-kubelet": "Mirantis Kubernetes Engine"}
#: Marks of machines that something else rebuilds or reconfigures.
_MANAGED_MARKS = {
    "eks.amazonaws.com/nodegroup": "an EKS node group",
    "cloud.google.com/gke-nodepool": "a GKE node pool",
    "kubernetes.azure.com/agentpool": "an AKS agent pool",
    "kops.k8s.io/instancegroup": "a kOps instance group",
    "cluster.x-k8s.io/machine": "a Cluster API machine",
    "machine.openshift.io/machine": "an OpenShift machine",
    "alpha.eksctl.io/nodegroup-name": "an eksctl node group",
    "karpenter.sh/nodepool": "a Karpenter node pool",
    "karpenter.sh/provisioner-name": "a Karpenter provisioner",
    "worker.gardener.cloud/pool": "a Gardener worker pool",
    "node.deckhouse.io/group": "a Deckhouse node group",
}


@node_rule(
    "node-not-found",
    BLOCKER,
    title="The cluster has no such node",
    why="A run needs the Node object to cordon, watch and prove.",
    fix="Name a node that `kubectl get nodes` lists.",
    link=f"{links.K8S}concepts/architecture/nodes/",
    firm=True,
    any_node=True,
)
def node_not_found(node: NodeView, _: Survey) -> Iterator[Hit]:
    if node.manifest is None:
        yield Hit(message=f"no Node object is called {node.name}")


@node_rule(
    "node-not-ready",
    BLOCKER,
    title="The node is not Ready",
    why="A node that is ill beforehand cannot show that the new runtime works, and after a "
    "rollback nobody could tell what the migration did.",
    fix="Repair the node first, or take it out of the cluster.",
    link=f"{links.K8S}concepts/architecture/nodes/",
    any_node=True,
)
def node_not_ready(node: NodeView, _: Survey) -> Iterator[Hit]:
    if node.manifest is not None and not node.ready:
        said = condition(node.manifest, "Ready").get("message") or "its Ready condition is not True"
        yield Hit(message=f"{node.name} is not Ready: {said}")


@node_rule(
    "already-on-containerd",
    INFO,
    title="The node runs containerd already",
    why="There is nothing to migrate.",
    fix="Leave it out.",
    link=f"{links.DOCKERSHIM}find-out-runtime-you-use/",
    firm=True,
    any_node=True,
)
def already_on_containerd(node: NodeView, survey: Survey) -> Iterator[Hit]:
    if node.runtime.startswith("containerd://"):
        severity = BLOCKER if survey.snapshot.options else INFO
        yield Hit(message=f"{node.name} runs {node.runtime} already", severity=severity)


@node_rule(
    "runtime-unsupported",
    BLOCKER,
    title="The node's runtime is not Docker Engine",
    why="Only nodes that run Docker Engine through dockershim or cri-dockerd can be moved.",
    fix="Leave the node out.",
    link=f"{links.DOCKERSHIM}find-out-runtime-you-use/",
    firm=True,
    any_node=True,
)
def runtime_unsupported(node: NodeView, _: Survey) -> Iterator[Hit]:
    known = node.runtime.startswith(("docker://", "containerd://"))
    if node.manifest is not None and not known:
        yield Hit(message=f"{node.name} reports the runtime {node.runtime or '(none)'}")


@node_rule(
    "windows-node",
    BLOCKER,
    title="The node does not run Linux",
    why="The transaction on the node is a POSIX shell script under systemd.",
    fix="Replace Windows nodes by new ones that run containerd.",
    link=f"{links.K8S}concepts/windows/intro/",
    firm=True,
    any_node=True,
)
def windows_node(node: NodeView, _: Survey) -> Iterator[Hit]:
    system = node.info.get("operatingSystem") or node.labels.get("kubernetes.io/os") or "linux"
    if node.manifest is not None and system != "linux":
        yield Hit(message=f"{node.name} runs {system}")


@node_rule(
    "unsupported-installer",
    BLOCKER,
    title="This distribution needs its own procedure",
    why="k3s, k0s and MicroK8s run the kubelet inside their own service, RKE1 and Mirantis run it "
    "as a Docker container (stopping Docker would kill it), minikube, kind and Docker Desktop "
    "nodes are made to be recreated. "
    "Editing kubelet flags would do nothing or do harm.",
    fix="k3s: drain and restart it without --docker. RKE1: move to RKE2 or rebuild. minikube and "
    "kind: recreate the cluster with the containerd runtime.",
    firm=True,
)
def unsupported_installer(node: NodeView, _: Survey) -> Iterator[Hit]:
    for name in sorted(_installers(node)):
        yield Hit(message=f"{node.name} was set up by {name}")


def _installers(node: NodeView) -> set[str]:
    marks = {**node.labels, **node.annotations}
    found = {name for mark, name in _FOREIGN_MARKS.items() if mark in marks}
    found |= {name for mark, name in _FOREIGN_VERSIONS.items() if mark in node.kubelet_version}
    if str(node.spec.get("providerID", "")).startswith("kind://"):
        found.add("kind")
    if node.info.get("osImage") == "Docker Desktop":
        found.add("Docker Desktop")
    return found | _installers_on_the_node(node)


def _installers_on_the_node(node: NodeView) -> set[str]:
    facts = node.facts
    if facts is None:
        return set()
    running = {name for name, unit in facts.units.items() if unit.active == "active"}
    found = {"k3s"} if running & {"k3s.service", "k3s-agent.service"} else set()
    if running & {"rke2-server.service", "rke2-agent.service"}:
        found.add("RKE2")
    if "snap.microk8s.daemon-kubelite.service" in running:
        found.add("MicroK8s")
    names = {c.name.lstrip("/") for c in facts.docker.foreign} if facts.docker else set()
    return found | {owner for name, owner in _KUBELET_CONTAINERS.items() if name in names}


@node_rule(
    "managed-machine",
    WARNING,
    title="Something else owns this machine's configuration",
    why="The owner rebuilds the machine from its own image or rewrites the kubelet's settings at "
    "boot. A node moved in place works until then, and new nodes still come up with Docker.",
    fix="Also change the runtime at the source: machine image, node group or "
    "`spec.containerRuntime`.",
)
def managed_machine(node: NodeView, _: Survey) -> Iterator[Hit]:
    marks = {**node.labels, **node.annotations}
    for owner in sorted({owner for mark, owner in _MANAGED_MARKS.items() if mark in marks}):
        yield Hit(message=f"{node.name} belongs to {owner}")


@node_rule(
    "operator-node",
    BLOCKER,
    title="The operator itself runs on this node",
    why="Draining the node would evict the operator that watches over the run. The node would "
    "still be safe, since it rolls back by itself, but the migration would fail.",
    fix="Move the operator to another node, or migrate this node with the command line. In a "
    "MigrationPlan the operator's node goes last.",
)
def operator_node(node: NodeView, survey: Survey) -> Iterator[Hit]:
    if node.name == survey.snapshot.operator_node:
        yield Hit(message=f"the operator's own pod runs on {node.name}")


@node_rule(
    "unfinished-run",
    BLOCKER,
    title="Another run on this node has not ended",
    why="Two runs on one node would undo each other's changes.",
    fix="`unshim journal NODE` shows where it stands. Let it end, take it up with `unshim migrate "
    "NODE`, or take it back with `unshim rollback NODE`.",
    firm=True,
)
def unfinished_run(node: NodeView, survey: Survey) -> Iterator[Hit]:
    for run in node.facts.runs if node.facts else ():
        if run.uid != survey.snapshot.run and (state := _unfinished(run)):
            yield Hit(message=f"run {run.uid} on {node.name} {state}")


def _unfinished(run: NodeRun) -> str:
    try:
        told = journal.parse(run.journal)
    except journal.CorruptJournal as exc:
        return f"has a journal that cannot be read: {exc}"
    if told.ended or (not told.entries and not run.verdict):
        return ""
    return f"has not ended (verdict: {run.verdict.strip() or 'none yet'})"


@node_rule(
    "no-root",
    BLOCKER,
    title="SSH gives no root on the node",
    why="Services, packages and files under /etc can only be changed by root.",
    fix="Let the SSH user be root, or give it sudo without password and without a terminal.",
    firm=True,
)
def no_root(node: NodeView, _: Survey) -> Iterator[Hit]:
    if node.facts is not None and not node.facts.root:
        yield Hit(message=f"the scripts do not run as root on {node.name}")


@node_rule(
    "facts-incomplete",
    WARNING,
    title="Part of the node could not be read",
    why="Rules that need this part have stayed silent, so a problem there would go unseen.",
    fix="Look at the reason, repair it and audit again.",
)
def facts_incomplete(node: NodeView, _: Survey) -> Iterator[Hit]:
    for section, reason in sorted((node.facts.errors if node.facts else {}).items()):
        yield Hit(message=f"{section} of {node.name} could not be read: {reason}")


@node_rule(
    "missing-tool",
    BLOCKER,
    title="The node lacks a command that the run needs",
    why="The runner on the node uses coreutils, util-linux and systemd, and nothing else.",
    fix="Install the package that holds the command.",
    firm=True,
)
def missing_tool(node: NodeView, _: Survey) -> Iterator[Hit]:
    tools = node.facts.tools if node.facts else frozenset()
    # facts.sh could not have answered without base64 and timeout.
    needed = {"flock", "systemd-run", "sha256sum", "tar"}
    if tools and (missing := sorted(needed - tools)):
        yield Hit(message=f"{node.name} lacks {', '.join(missing)}")


@node_rule(
    "already-cordoned",
    INFO,
    title="The node is cordoned",
    why="unshim lifts only the cordons it set: this node stays unschedulable afterwards.",
    fix="Uncordon it yourself when you are ready.",
    link=f"{links.K8S}concepts/architecture/nodes/#manual-node-administration",
)
def already_cordoned(node: NodeView, _: Survey) -> Iterator[Hit]:
    stamped = "unshim.dev/cordoned" in node.annotations
    if node.spec.get("unschedulable") and not stamped:
        yield Hit(message=f"{node.name} is unschedulable already")


@node_rule(
    "cri-socket-annotation",
    WARNING,
    title="kubeadm's note of the node's socket is malformed",
    why="kubeadm reads this annotation at the next upgrade and fails on a value it cannot use. "
    "kubeadm 1.24.0 wrote `unix://unix://…`.",
    fix="Nothing to do before the migration: it sets the annotation to containerd's socket.",
    link=links.CHANGE_RUNTIME,
)
def cri_socket_annotation(node: NodeView, _: Survey) -> Iterator[Hit]:
    value = node.annotations.get(CRI_SOCKET_ANNOTATION)
    known = ("dockershim.sock", "cri-dockerd.sock", "/var/run/docker.sock", "/run/docker.sock")
    if value is not None and (value.count("unix://") > 1 or not value.endswith(known)):
        yield Hit(message=f"{CRI_SOCKET_ANNOTATION} of {node.name} is {value!r}")
