"""The kubelet: how it is started, which runtime it speaks to, and its cgroup driver."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from unshim.audit import links
from unshim.audit.finding import Severity
from unshim.audit.rule import Hit, NodeView, Survey, node_rule
from unshim.core import flags
from unshim.core.edits.kubelet_flags import DOCKERSHIM_FLAGS
from unshim.core.facts import Kubelet

BLOCKER, WARNING, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO

_DOCKER_UNITS = frozenset({"docker.service", "docker.socket"})
#: Feature gates that dockershim clusters still set -> the first minor version that does not know
#: them, by the table of removed feature gates in the Kubernetes reference.
_REMOVED_GATES = {
    **dict.fromkeys(("TaintBasedEvictions", "SupportIPVSProxyMode"), (1, 21)),
    **dict.fromkeys(("RotateKubeletClientCertificate", "TokenRequest", "BlockVolume"), (1, 22)),
    **dict.fromkeys(("CSIBlockVolume", "CSIDriverRegistry", "AttachVolumeLimit"), (1, 22)),
    **dict.fromkeys(("CRIContainerLogRotation", "CSINodeInfo", "LegacyNodeRoleBehavior"), (1, 23)),
    **dict.fromkeys(("NodeDisruptionExclusion", "SCTPSupport", "ServiceNodeExclusion"), (1, 23)),
    **dict.fromkeys(("VolumeSnapshotDataSource", "Sysctls", "RunAsGroup"), (1, 23)),
    **dict.fromkeys(("SupportNodePidsLimit", "SupportPodPidsLimit", "StartupProbe"), (1, 24)),
    **dict.fromkeys(("NodeLease", "CronJobControllerV2"), (1, 24)),
    **dict.fromkeys(("IPv6DualStack", "RuntimeClass", "TTLAfterFinished"), (1, 25)),
    **dict.fromkeys(("EndpointSlice", "EndpointSliceProxying", "GenericEphemeralVolume"), (1, 25)),
    **dict.fromkeys(("HugePageStorageMediumSize", "StreamingProxyRedirects"), (1, 25)),
    **dict.fromkeys(("DynamicKubeletConfig", "PodDisruptionBudget", "PodOverhead"), (1, 26)),
    **dict.fromkeys(("CSIMigration", "CSIMigrationAWS", "CSIInlineVolume"), (1, 27)),
    **dict.fromkeys(("EphemeralContainers", "LocalStorageCapacityIsolation"), (1, 27)),
    **dict.fromkeys(("ExpandCSIVolumes", "ExpandPersistentVolumes"), (1, 27)),
}
_GATES_BLOCK = re.compile(
    r"(?m)^[ \t{]*[\"']?featureGates[\"']?[ \t]*:[ \t]*(\{[^}]*\}|(?:\n[ \t]+\S.*)+)"
)


@node_rule(
    "kubelet-not-systemd",
    BLOCKER,
    title="The kubelet is no running systemd unit",
    why="The transaction stops and starts the kubelet through systemd and edits the files that its "
    "unit reads. A kubelet in a container or in another process has neither.",
    fix="Use the procedure of the tool that installed the cluster.",
    link=f"{links.K8S}setup/production-environment/tools/kubeadm/kubelet-integration/",
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
    link=links.CHANGE_RUNTIME,
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
    link=f"{links.RUNTIMES}#cgroup-drivers",
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
    link=f"{links.K8S}tasks/administer-cluster/kubeadm/configure-cgroup-driver/",
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
    link=f"{links.K8S}tasks/administer-cluster/kubelet-config-file/",
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
    link=links.SYSTEMD_UNIT,
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
    link=f"{links.K8S}reference/command-line-tools-reference/feature-gates-removed/",
)
def flags_fatal_at_upgrade(node: NodeView, _: Survey) -> Iterator[Hit]:
    if node.facts is None or node.facts.kubelet is None or node.kubelet_minor == (0, 0):
        return
    for name, gone in sorted(_doomed(node, node.facts.kubelet).items()):
        if node.kubelet_minor < gone:
            yield Hit(message=f"{node.name}: {name} is unknown to Kubernetes {gone[0]}.{gone[1]}")


def _doomed(node: NodeView, kubelet: Kubelet) -> Mapping[str, tuple[int, int]]:
    """Flags and gates in use, as people know them, with the version that refuses them."""
    flagged = dict.fromkeys(DOCKERSHIM_FLAGS, (1, 24))
    flagged |= {"dynamic-config-dir": (1, 24), "seccomp-profile-root": (1, 23)}
    flagged |= {"container-runtime": (1, 27), "pod-infra-container-image": (1, 35)}
    doomed = {f"--{name}": gone for name, gone in flagged.items() if name in node.kubelet_flags}
    if node.dockershim:
        doomed["--container-runtime=remote, which the migration adds,"] = (1, 27)
    for gate in set(re.findall(r"(\w+)=", node.kubelet_flags.get("feature-gates", ""))):
        if gate in _REMOVED_GATES:
            doomed[f"--feature-gates={gate}"] = _REMOVED_GATES[gate]
    block = _GATES_BLOCK.search(kubelet.config_text)
    for gate in set(re.findall(r"(\w+)[\"']?\s*:", block[1])) if block else ():
        if gate in _REMOVED_GATES:
            doomed[f"featureGates.{gate} in {kubelet.config_path}"] = _REMOVED_GATES[gate]
    return doomed


@node_rule(
    "metadata-probe",
    INFO,
    title="The kubelet may wait for a cloud metadata service",
    why="Up to 1.22 the kubelet asks 169.254.169.254 for registry credentials when it starts. Off "
    "the clouds, where that address is a black hole behind a firewall, this takes 9 seconds: most "
    "of the time a switch takes.",
    fix="Make the address unreachable at once: `ip route add unreachable 169.254.169.254`.",
    link=f"{links.K8S}tasks/administer-cluster/kubelet-credential-provider/",
)
def metadata_probe(node: NodeView, _: Survey) -> Iterator[Hit]:
    if node.facts is not None and may_probe_metadata(node):
        yield Hit(message=f"the kubelet of {node.name} is {node.kubelet_version} on no known cloud")


def may_probe_metadata(node: NodeView) -> bool:
    """A kubelet up to 1.22 that knows no cloud asks for one when it starts."""
    unclouded = not node.spec.get("providerID") and "cloud-provider" not in node.kubelet_flags
    return unclouded and (1, 0) < node.kubelet_minor < (1, 23)
