"""containerd: whether it is there, and whether this kubelet and this Docker go with it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

from unshim.audit import links
from unshim.audit.finding import Severity, Subject
from unshim.audit.rule import Hit, NodeView, Survey, node_rule
from unshim.core import eviction
from unshim.core.edits import docker_settings
from unshim.core.facts import NodeFacts
from unshim.errors import UnsupportedNode

BLOCKER, WARNING, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO

Version = tuple[int, ...]


def version(text: str) -> Version:
    """The leading numbers of a version: `1.6.20~ds1` is (1, 6, 20)."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def containerd_version(node: NodeView) -> str:
    """The version that the node has; empty when it has none."""
    containerd = node.facts.containerd if node.facts else None
    return containerd.version if containerd else ""


@node_rule(
    "kubelet-containerd-versions",
    BLOCKER,
    title="This kubelet and this containerd cannot speak to each other",
    why="Kubelets up to 1.22 speak CRI v1alpha2 only, which containerd 2.0 dropped. Kubelets from "
    "1.26 on speak CRI v1 only, which containerd has from 1.6 on. cgroup v2 needs containerd 1.4.",
    fix="Install containerd 1.7: it serves every kubelet from 1.18 to 1.35.",
    link=f"{links.CONTAINERD}RELEASES.md",
    firm=True,
)
def kubelet_containerd_versions(node: NodeView, _: Survey) -> Iterator[Hit]:
    text = containerd_version(node)
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
    elif have < (2,) and kubelet >= (1, 36):
        yield Hit(
            message=f"{node.name}: Kubernetes from 1.36 on is not tested with containerd 1.x; take "
            "containerd 2.2 or later",
            severity=WARNING,
        )
    elif have < (1, 5):
        info = node.facts.docker.info if node.facts and node.facts.docker else {}
        unified = have < (1, 4) and str(info.get("CgroupVersion")) == "2"
        more = ", and knows no cgroup v2, which this node uses" if unified else ""
        yield Hit(
            message=f"{node.name}: containerd {text} cannot take over Docker's registry "
            f"settings{more}"
        )


@node_rule(
    "containerd-flaws",
    WARNING,
    title="This containerd version has a known flaw",
    why="Each version named here is known to break some pods or some rollback.",
    fix="Upgrade to the newest containerd 1.7.",
    link="https://github.com/containerd/containerd/releases",
)
def containerd_flaws(node: NodeView, _: Survey) -> Iterator[Hit]:
    have = version(containerd_version(node))
    docker = version(node.runtime.removeprefix("docker://"))
    if have >= (2,) and docker and docker < (20, 10):
        yield Hit(
            message=f"{node.name}: Docker before 20.10 cannot start containers under containerd 2; "
            "a rollback would fail",
            severity=BLOCKER,
        )
    if have and have < (1, 6) and docker >= (20, 10):
        yield Hit(
            message=f"{node.name}: containerd before 1.6 cannot let pods without root listen below "
            "port 1024, as Docker does; the rule low-ports names those that are seen to"
        )
    if have:
        yield from (Hit(message=f"{node.name}: {flaw}") for flaw in _flaws(node, have))


def _flaws(node: NodeView, have: Version) -> Iterator[str]:
    if (1, 6) <= have < (1, 6, 4):
        yield "containerd before 1.6.4 fails on some CNI files"
    if _apparmor_4(node) and (have < (1, 6, 32) or (1, 7) <= have < (1, 7, 16)):
        yield (
            "containerd before 1.6.32 and 1.7.16 cannot stop containers under AppArmor 4 (`unable "
            "to signal init: permission denied`), unless the distribution has mended it"
        )
    pinned = have >= (1, 7, 3) or (1, 6, 22) <= have < (1, 7)
    if node.kubelet_minor >= (1, 29) and not pinned:
        yield "the kubelet may delete the pause image; it is not pinned"


def _apparmor_4(node: NodeView) -> bool:
    """Ubuntu 23.10 and later confine runc by a profile of its own."""
    release = node.facts.os_release if node.facts else {}
    enabled = bool(node.facts and "/sys/kernel/security/apparmor" in node.facts.present)
    return (
        enabled
        and release.get("ID") == "ubuntu"
        and version(release.get("VERSION_ID", "")) >= (23, 10)
    )


@node_rule(
    "containerd-unit",
    BLOCKER,
    title="systemd cannot start containerd",
    why="The switch restarts containerd.service and lets it start at boot. Here the program is "
    "installed without that unit, as when dockerd runs a containerd of its own, or the unit is "
    "masked.",
    fix="Install containerd from a package, which brings the unit, or unmask it.",
    link=f"{links.CONTAINERD}docs/getting-started.md",
)
def containerd_unit(node: NodeView, _: Survey) -> Iterator[Hit]:
    facts = node.facts
    if facts is None or facts.containerd is None or "units" in facts.errors:
        return
    unit = facts.units.get("containerd.service")
    if unit is None or not unit.exists:
        yield Hit(message=f"{node.name} has containerd and no containerd.service")
    elif unit.enabled.startswith("masked"):
        yield Hit(message=f"containerd.service on {node.name} is {unit.enabled}")


@node_rule(
    "runtime-handler",
    BLOCKER,
    title="A pod's RuntimeClass names a runtime that containerd would not have",
    why="cri-dockerd takes the handler for the name of one of Docker's runtimes. Runtimes of "
    "daemon.json that runc's shim can start are carried over, others are not, and their pods would "
    "not start.",
    fix="Add the runtime to /etc/containerd/config.toml first, or point the RuntimeClass at runc.",
    link=f"{links.K8S}concepts/containers/runtime-class/",
)
def runtime_handler(node: NodeView, survey: Survey) -> Iterator[Hit]:
    handlers = {
        str(known["metadata"]["name"]): str(known.get("handler", ""))
        for known in survey.snapshot.runtime_classes
    }
    if node.facts is None or not handlers or (known := _runtimes(node.facts)) is None:
        return
    for judgement in node.judged:
        pod = judgement.pod
        handler = handlers.get(str(pod["spec"].get("runtimeClassName") or ""), "")
        if handler and handler not in known and not eviction.finished(pod):
            meta = pod["metadata"]
            yield Hit(
                message=f"{judgement.key} on {node.name} wants the runtime {handler}",
                subject=Subject(
                    kind="Pod", namespace=meta.get("namespace", ""), name=str(meta["name"])
                ),
                chain=survey.chain(pod),
            )


def _runtimes(facts: NodeFacts) -> set[str] | None:
    """What containerd will have; None when that cannot be told. `docker` has a rule of its own."""
    text = facts.containerd.config_text if facts.containerd else None
    try:
        carried = {runtime.name for runtime in docker_settings.translate(facts).runtimes}
        plugins = tomllib.loads(text or "").get("plugins", {})
    except (UnsupportedNode, ValueError):
        return None
    found = {"runc", "docker", *carried}
    for plugin in plugins.values():
        found |= set(((plugin or {}).get("containerd") or {}).get("runtimes") or {})
    return found


@node_rule(
    "containerd-absent",
    WARNING,
    title="containerd is not installed",
    why="The migration installs it while the node still serves. That needs a package source that "
    "the node can reach.",
    fix="See that the node's package source offers containerd.io or containerd, or install it.",
    link=f"{links.CONTAINERD}docs/getting-started.md",
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
    link=f"{links.CONTAINERD}docs/namespaces.md",
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
    link="https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/"
    "install-guide.html",
)
def gpu_node(node: NodeView, _: Survey) -> Iterator[Hit]:
    offered = node.status.get("allocatable") or {}
    gpus = [key for key, count in offered.items() if "gpu" in key and str(count) not in ("", "0")]
    info = node.facts.docker.info if node.facts and node.facts.docker else {}
    default = str(info.get("DefaultRuntime", ""))
    if gpus or default == "nvidia":
        what = ", ".join(f"{offered[key]} {key}" for key in sorted(gpus)) or "runtime nvidia"
        yield Hit(message=f"{node.name}: {what}, default runtime {default or 'unknown'}")
