"""What containers rely on without saying so: runtime classes, probe timeouts, local images."""

from __future__ import annotations

from collections.abc import Iterator

from unshim.audit import links
from unshim.audit.finding import Severity, Subject
from unshim.audit.rule import Hit, NodeView, Survey, node_rule, workload_rule
from unshim.audit.rules.runtime import version
from unshim.audit.workloads import Workload
from unshim.core import eviction
from unshim.core.objects import Manifest

BLOCKER, WARNING, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO


@workload_rule(
    "runtime-class",
    BLOCKER,
    title="A pod's RuntimeClass names Docker",
    why="dockershim accepts the handler `docker`. containerd has no runtime of that name, and the "
    "pod would not start.",
    fix="Remove runtimeClassName from the workload, or point the RuntimeClass at runc.",
    link=f"{links.K8S}concepts/containers/runtime-class/",
)
def runtime_class(workload: Workload, survey: Survey) -> Iterator[Hit]:
    name = workload.spec.get("runtimeClassName")
    for known in survey.snapshot.runtime_classes:
        if name and known["metadata"]["name"] == name and known.get("handler") == "docker":
            yield Hit(message=f"runtimeClassName {name} has the handler docker")


@workload_rule(
    "exec-probe-timeout",
    WARNING,
    title="An exec probe gets a real time limit",
    why="Up to Kubernetes 1.19, and with the feature gate ExecProbeTimeout off, Docker ignored the "
    "time limit of exec probes. containerd keeps it, and it is 1 second unless set: slow probes "
    "would begin to fail and their containers to restart.",
    fix="Set timeoutSeconds of the probe to what its command really needs.",
    link=f"{links.K8S}tasks/configure-pod-container/configure-liveness-readiness-startup-probes/",
)
def exec_probe_timeout(workload: Workload, survey: Survey) -> Iterator[Hit]:
    lenient = survey.lenient & set(workload.nodes) if workload.nodes else survey.lenient
    if not lenient:
        return
    for container in workload.containers:
        for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
            probe = container.get(kind) or {}
            if probe.get("exec") and (probe.get("timeoutSeconds") or 1) <= 1:
                yield Hit(message=f"container {container.get('name')}: {kind}")


@workload_rule(
    "image-never-pulled",
    INFO,
    title="A pod's image is never pulled",
    why="imagePullPolicy Never takes only what is on the node. The migration copies the image from "
    "Docker's store on the nodes where the pod runs; a new node has to get it by other means.",
    fix="Push the image to a registry and let it be pulled if it is absent.",
    link=f"{links.IMAGES}#image-pull-policy",
)
def image_never_pulled(workload: Workload, _: Survey) -> Iterator[Hit]:
    for container in workload.containers:
        if container.get("imagePullPolicy") == "Never":
            yield Hit(message=f"container {container.get('name')}: {container.get('image')}")


@workload_rule(
    "locked-memory",
    INFO,
    title="A pod locks memory",
    why="Containers inherit their limits from containerd.service, not from Docker's "
    "default-ulimits. Limits set in daemon.json are carried over; others may differ.",
    fix="Compare `ulimit -l` in the pod before and after the first node.",
    link=f"{links.DOCKER}reference/cli/dockerd/",
)
def locked_memory(workload: Workload, _: Survey) -> Iterator[Hit]:
    for container in workload.containers:
        context = container.get("securityContext") or {}
        added = (context.get("capabilities") or {}).get("add") or ()
        if "IPC_LOCK" in added and not context.get("privileged"):
            yield Hit(message=f"container {container.get('name')} adds IPC_LOCK")


@node_rule(
    "low-ports",
    WARNING,
    title="A pod without root listens below port 1024",
    why="Docker from 20.10 on lets every container of a pod network listen there. containerd can "
    "do so from 1.6 on, and the migration turns it on; this one is older. Unless the program has "
    "the capability on its file, it fails with `bind: permission denied`.",
    fix="Upgrade containerd to 1.6 or later, let the pod listen on a high port, or set its sysctl "
    "net.ipv4.ip_unprivileged_port_start to 0.",
    link=f"{links.CONTAINERD}docs/cri/config.md",
)
def low_ports(node: NodeView, survey: Survey) -> Iterator[Hit]:
    facts = node.facts
    if facts is None or facts.containerd is None or facts.docker is None:
        return
    old = version(facts.containerd.version) < (1, 6) and version(facts.kernel) >= (4, 11)
    if not old or version(facts.docker.version) < (20, 10):
        return
    for pod in node.pods:
        if not eviction.finished(pod) and (ports := sorted(_low_ports(pod["spec"]))):
            meta = pod["metadata"]
            yield Hit(
                message=f"on {node.name}: {', '.join(map(str, ports))}",
                subject=Subject(
                    kind="Pod", namespace=meta.get("namespace", ""), name=str(meta["name"])
                ),
                chain=survey.chain(pod),
            )


def _low_ports(spec: Manifest) -> set[int]:
    """Ports that a container declares and whose user is known not to be root."""
    of_pod = spec.get("securityContext") or {}
    sysctls = {str(s.get("name")) for s in of_pod.get("sysctls") or ()}
    if spec.get("hostNetwork") or "net.ipv4.ip_unprivileged_port_start" in sysctls:
        return set()
    return {
        int(port["containerPort"])
        for container in spec.get("containers") or ()
        if _rootless({**of_pod, **(container.get("securityContext") or {})})
        for port in container.get("ports") or ()
        if int(port.get("containerPort") or 0) in range(1, 1024)
    }


def _rootless(context: Manifest) -> bool:
    return bool(context.get("runAsNonRoot")) or int(context.get("runAsUser") or 0) > 0
