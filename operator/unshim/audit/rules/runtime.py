"""containerd: whether it is there, and whether this kubelet and this Docker go with it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from unshim.audit.finding import Severity
from unshim.audit.rule import Hit, NodeView, Survey, node_rule

BLOCKER, WARNING, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO

Version = tuple[int, ...]


def version(text: str) -> Version:
    """The leading numbers of a version: `1.6.20~ds1` is (1, 6, 20)."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def containerd_version(node: NodeView, survey: Survey) -> str:
    """The version that the node has, or would get."""
    containerd = node.facts.containerd if node.facts else None
    return containerd.version if containerd else survey.snapshot.containerd_version


@node_rule(
    "kubelet-containerd-versions",
    BLOCKER,
    title="This kubelet and this containerd cannot speak to each other",
    why="Kubelets up to 1.22 speak CRI v1alpha2 only, which containerd 2.0 dropped. Kubelets from "
    "1.26 on speak CRI v1 only, which containerd has from 1.6 on.",
    fix="Install containerd 1.7: it serves every kubelet from 1.18 to 1.35.",
    link="https://kubernetes.io/docs/setup/production-environment/container-runtimes/",
    firm=True,
)
def kubelet_containerd_versions(node: NodeView, survey: Survey) -> Iterator[Hit]:
    text = containerd_version(node, survey)
    have, kubelet = version(text), node.kubelet_minor
    if not have or kubelet == (0, 0):
        return
    if have >= (2,) and kubelet <= (1, 22):
        yield Hit(message=f"{node.name}: kubelet {node.kubelet_version} needs containerd below 2.0")
    elif have < (1, 6) and kubelet >= (1, 26):
        yield Hit(
            message=f"{node.name}: kubelet {node.kubelet_version} needs containerd 1.6, not {text}"
        )
    elif have >= (2,) and kubelet >= (1, 36) and have < (2, 2):
        yield Hit(
            message=f"{node.name}: kubelet {node.kubelet_version} wants containerd 2.2 or later",
            severity=WARNING,
        )
    elif have < (1, 4):
        yield Hit(message=f"{node.name}: containerd {text} is too old for Kubernetes")


@node_rule(
    "containerd-flaws",
    WARNING,
    title="This containerd version has a known flaw",
    why="Each version named here is known to break some pods or some rollback.",
    fix="Upgrade to the newest containerd 1.7.",
)
def containerd_flaws(node: NodeView, survey: Survey) -> Iterator[Hit]:
    have = version(containerd_version(node, survey))
    docker = version(node.runtime.removeprefix("docker://"))
    if (1, 6) <= have < (1, 6, 4):
        yield Hit(message=f"{node.name}: containerd before 1.6.4 fails on some CNI files")
    if have >= (2,) and docker and docker < (20, 10):
        yield Hit(
            message=f"{node.name}: Docker before 20.10 cannot start containers under containerd 2; "
            "a rollback would fail",
            severity=BLOCKER,
        )
    if have and have < (1, 6) and docker >= (20, 10):
        yield Hit(
            message=f"{node.name}: containerd before 1.6 cannot let pods without root listen below "
            "port 1024, as Docker does"
        )
    pinned = have >= (1, 7, 3) or (1, 6, 22) <= have < (1, 7)
    if have and node.kubelet_minor >= (1, 29) and not pinned:
        yield Hit(message=f"{node.name}: the kubelet may delete the pause image; it is not pinned")


@node_rule(
    "containerd-absent",
    WARNING,
    title="containerd is not installed",
    why="The migration installs it while the node still serves. That needs a package source that "
    "the node can reach.",
    fix="See that the node's package source offers containerd.io or containerd, or install it.",
)
def containerd_absent(node: NodeView, _: Survey) -> Iterator[Hit]:
    facts = node.facts
    if facts is None or facts.containerd is not None or "containerd-version" in facts.errors:
        return
    managers = facts.tools & {"apt-get", "dnf", "yum", "zypper"}
    if facts.tools and not managers:
        yield Hit(
            message=f"{node.name} has neither containerd nor a package manager", severity=BLOCKER
        )
    else:
        yield Hit(message=f"{node.name} has no containerd")


@node_rule(
    "containerd-in-use",
    BLOCKER,
    title="containerd already runs Kubernetes containers here",
    why="The k8s.io namespace should be empty on a node that runs Docker. Something else uses it, "
    "and its containers would be taken for leftovers.",
    fix="Look with `ctr -n k8s.io containers ls` and remove what is left over.",
)
def containerd_in_use(node: NodeView, _: Survey) -> Iterator[Hit]:
    containerd = node.facts.containerd if node.facts else None
    if containerd is not None and containerd.k8s_containers:
        yield Hit(message=f"{containerd.k8s_containers} containers on {node.name}")


@node_rule(
    "packages-held",
    INFO,
    title="The runtime's packages are held",
    why="Held packages stay as they are. That is no obstacle as long as containerd is installed.",
    fix="Unhold the package if containerd has to be installed or upgraded.",
)
def packages_held(node: NodeView, _: Survey) -> Iterator[Hit]:
    held = node.facts.held if node.facts else frozenset()
    if names := sorted(held & {"containerd.io", "containerd", "docker-ce", "docker.io"}):
        yield Hit(message=f"{', '.join(names)} on {node.name}")


@node_rule(
    "gpu-node",
    WARNING,
    title="The node offers GPUs",
    why="Containers reach GPUs through the NVIDIA runtime. It is carried over from daemon.json, "
    "and extra arguments of the runtime are lost.",
    fix="Try one GPU node first and run a GPU workload there. The proof waits until the node "
    "offers as many GPUs as before.",
)
def gpu_node(node: NodeView, _: Survey) -> Iterator[Hit]:
    offered = node.status.get("allocatable") or {}
    gpus = [key for key, count in offered.items() if "gpu" in key and str(count) not in ("", "0")]
    info = node.facts.docker.info if node.facts and node.facts.docker else {}
    default = str(info.get("DefaultRuntime", ""))
    if gpus or default == "nvidia":
        what = ", ".join(f"{offered[key]} {key}" for key in sorted(gpus)) or "runtime nvidia"
        yield Hit(message=f"{node.name}: {what}, default runtime {default or 'unknown'}")
