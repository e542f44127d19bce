"""The kubelet: how it is started, which runtime it speaks to, and its cgroup driver."""

from __future__ import annotations

import re
from collections.abc import Iterator

from unshim.audit.finding import Severity
from unshim.audit.rule import Hit, NodeView, Survey, node_rule
from unshim.core import flags
from unshim.core.edits.kubelet_flags import DOCKERSHIM_FLAGS
from unshim.core.facts import Kubelet

BLOCKER, WARNING, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO

_DOCKER_UNITS = frozenset({"docker.service", "docker.socket"})
#: Feature gates that dockershim clusters still set -> the minor version that no longer knows them.
_REMOVED_GATES = {
    "DynamicKubeletConfig": (1, 26),
    "CRIContainerLogRotation": (1, 23),
    "SupportPodPidsLimit": (1, 23),
    "CSIMigration": (1, 27),
    "LegacyNodeRoleBehavior": (1, 22),
    "ServiceNodeExclusion": (1, 22),
}


@node_rule(
    "kubelet-not-systemd",
    BLOCKER,
    title="The kubelet is no running systemd unit",
    why="The transaction stops and starts the kubelet through systemd and edits the files that its "
    "unit reads. A kubelet in a container or in another process has neither.",
    fix="Use the procedure of the tool that installed the cluster.",
    firm=True,
)
def kubelet_not_systemd(node: NodeView, _: Survey) -> Iterator[Hit]:
    facts = node.facts
    if facts is None or "units" in facts.errors:
        return
    unit = facts.units.get("kubelet.service") or facts.units.get("kubelet")
    if unit is None or not unit.fragment:
        yield Hit(message=f"{node.name} has no kubelet.service")
    elif facts.kubelet is None or not facts.kubelet.argv:
        yield Hit(message=f"kubelet.service of {node.name} runs no kubelet")


@node_rule(
    "kubelet-runtime",
    BLOCKER,
    title="The kubelet's runtime is neither dockershim nor cri-dockerd",
    why="Its flags contradict what the node reports, so what an edit would do is unknown. A "
    "kubelet up to 1.23 that has the containerd endpoint but not --container-runtime=remote has "
    "replaced containerd's socket by its own and still runs Docker.",
    fix="Correct the kubelet's flags and restart it until they agree with the node's status.",
    firm=True,
)
def kubelet_runtime(node: NodeView, _: Survey) -> Iterator[Hit]:
    kubelet = node.facts.kubelet if node.facts else None
    if kubelet is None or not kubelet.argv or node.kubelet_minor == (0, 0):
        return
    endpoint = _endpoint(node, kubelet)
    path = flags.socket_path(endpoint)
    if node.dockershim and path in ("", "/run/dockershim.sock"):
        return
    if not node.dockershim and path == "/run/cri-dockerd.sock":
        return
    role = "dockershim" if node.dockershim else "a remote runtime"
    yield Hit(
        message=f"the kubelet of {node.name} uses {role} with the endpoint {endpoint or '(none)'}"
    )


def _endpoint(node: NodeView, kubelet: Kubelet) -> str:
    flag = node.kubelet_flags.get("container-runtime-endpoint", "")
    if flag or node.kubelet_minor < (1, 27):
        return flag
    return scalar(kubelet.config_text, "containerRuntimeEndpoint")


def scalar(text: str, key: str) -> str:
    """A top-level scalar of a YAML or JSON configuration, without a parser for either."""
    found = re.search(rf"(?m)^\s*[\"']?{key}[\"']?\s*:\s*[\"']?([^\"'\s,#]+)", text)
    return found[1] if found else ""


@node_rule(
    "cgroup-driver",
    BLOCKER,
    title="The kubelet and Docker disagree on the cgroup driver",
    why="containerd has to follow the driver that pods really run under. With a wrong one, pods "
    "fail to start, or start outside their limits and are restarted without a clear error.",
    fix="Find out which driver pods run under (/proc/PID/cgroup of one) and make kubelet and "
    "Docker agree, with the node drained. Never change the driver together with the runtime.",
    firm=True,
)
def cgroup_driver(node: NodeView, _: Survey) -> Iterator[Hit]:
    facts = node.facts
    if facts is None or facts.kubelet is None:
        return
    kubelet = facts.kubelet.cgroup_driver
    docker = str(facts.docker.info.get("CgroupDriver", "")) if facts.docker else ""
    evidence = facts.kubelet.cgroup_evidence
    if kubelet and docker and kubelet != docker:
        yield Hit(message=f"{node.name}: kubelet {kubelet}, Docker {docker}")
    pods = evidence.get("pods", "")
    if pods and kubelet and pods != kubelet:
        yield Hit(message=f"{node.name}: pods run under {pods}, the kubelet says {kubelet}")
    if not kubelet:
        yield Hit(
            message=f"the kubelet's cgroup driver on {node.name} is unknown", severity=WARNING
        )


@node_rule(
    "cgroup-driver-flips",
    BLOCKER,
    title="The cgroup driver would change with the runtime",
    why="From 1.31 on the kubelet asks the runtime for the driver. cri-dockerd answers, containerd "
    "before 2.0 does not, so the kubelet would fall back to its configuration file, and that "
    "names another driver than pods run under today.",
    fix="Set cgroupDriver in the kubelet's configuration to the driver in use.",
)
def cgroup_driver_flips(node: NodeView, _: Survey) -> Iterator[Hit]:
    facts = node.facts
    if facts is None or facts.kubelet is None or node.kubelet_minor < (1, 31):
        return
    written = scalar(facts.kubelet.config_text, "cgroupDriver") or "cgroupfs"
    driver = facts.kubelet.cgroup_driver
    containerd = facts.containerd
    if driver and written != driver and (containerd is None or containerd.version < "2"):
        yield Hit(message=f"{node.name}: in use {driver}, in the configuration file {written}")


@node_rule(
    "dynamic-kubelet-config",
    WARNING,
    title="Dynamic kubelet configuration is in use",
    why="It overrides the configuration file, so settings such as the log limits may not be what "
    "the file says. Kubernetes 1.24 removed it.",
    fix="Move the settings to the kubelet's file and clear spec.configSource of the Node.",
)
def dynamic_kubelet_config(node: NodeView, _: Survey) -> Iterator[Hit]:
    if node.spec.get("configSource"):
        yield Hit(message=f"{node.name} takes its kubelet configuration from a ConfigMap")
    elif "dynamic-config-dir" in node.kubelet_flags:
        yield Hit(message=f"the kubelet of {node.name} runs with --dynamic-config-dir")


@node_rule(
    "units-need-docker",
    WARNING,
    title="Other systemd units need Docker",
    why="systemd stops a unit when one that it requires is stopped, and starting the unit starts "
    "Docker again. The kubelet's own dependence is removed by the migration.",
    fix="Remove Requires=, BindsTo= and Wants= on docker from these units, or accept that they "
    "stop.",
)
def units_need_docker(node: NodeView, _: Survey) -> Iterator[Hit]:
    facts = node.facts
    docker = [facts.units[name] for name in _DOCKER_UNITS if name in facts.units] if facts else []
    own = {"kubelet.service", "docker.service", "docker.socket", "cri-docker.service"}
    own |= {"cri-docker.socket", "cri-dockerd.service", "multi-user.target", "sockets.target"}
    for name in sorted({name for unit in docker for name in unit.required_by} - own):
        yield Hit(message=f"{name} on {node.name} requires Docker")


@node_rule(
    "flags-fatal-at-upgrade",
    INFO,
    title="The kubelet has flags that a later version does not know",
    why="An unknown flag stops the kubelet from starting after an upgrade.",
    fix="Flags of dockershim are removed by the migration. Remove the others before you upgrade.",
)
def flags_fatal_at_upgrade(node: NodeView, _: Survey) -> Iterator[Hit]:
    have = node.kubelet_flags
    doomed = dict.fromkeys(DOCKERSHIM_FLAGS & set(have), (1, 24))
    doomed |= {"dynamic-config-dir": (1, 24), "seccomp-profile-root": (1, 23)}
    doomed |= {"container-runtime": (1, 27), "pod-infra-container-image": (1, 35)}
    gates = have.get("feature-gates", "")
    doomed |= {
        f"feature-gates={gate}": gone for gate, gone in _REMOVED_GATES.items() if gate in gates
    }
    for name, gone in sorted(doomed.items()):
        if name.partition("=")[0] in have and node.kubelet_minor < gone:
            yield Hit(message=f"{node.name}: --{name} is unknown to Kubernetes {gone[0]}.{gone[1]}")


@node_rule(
    "metadata-probe",
    INFO,
    title="The kubelet may wait for a cloud metadata service",
    why="Up to 1.22 the kubelet asks 169.254.169.254 for registry credentials when it starts. Off "
    "the clouds, where that address is a black hole behind a firewall, this takes 9 seconds: most "
    "of the time a switch takes.",
    fix="Make the address unreachable at once: `ip route add unreachable 169.254.169.254`.",
)
def metadata_probe(node: NodeView, _: Survey) -> Iterator[Hit]:
    if node.facts is not None and may_probe_metadata(node):
        yield Hit(message=f"the kubelet of {node.name} is {node.kubelet_version} on no known cloud")


def may_probe_metadata(node: NodeView) -> bool:
    """A kubelet up to 1.22 that knows no cloud asks for one when it starts."""
    unclouded = not node.spec.get("providerID") and "cloud-provider" not in node.kubelet_flags
    return unclouded and (1, 0) < node.kubelet_minor < (1, 23)
