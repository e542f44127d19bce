"""What containers rely on without saying so: runtime classes, probe timeouts, local images."""

from __future__ import annotations

from collections.abc import Iterator

from unshim.audit.finding import Severity
from unshim.audit.rule import Hit, Survey, workload_rule
from unshim.audit.workloads import Workload

BLOCKER, WARNING, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO


@workload_rule(
    "runtime-class",
    BLOCKER,
    title="A pod's RuntimeClass names Docker",
    why="dockershim accepts the handler `docker`. containerd has no runtime of that name, and the "
    "pod would not start.",
    fix="Remove runtimeClassName from the workload, or point the RuntimeClass at runc.",
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
)
def locked_memory(workload: Workload, _: Survey) -> Iterator[Hit]:
    for container in workload.containers:
        context = container.get("securityContext") or {}
        added = (context.get("capabilities") or {}).get("add") or ()
        if "IPC_LOCK" in added and not context.get("privileged"):
            yield Hit(message=f"container {container.get('name')} adds IPC_LOCK")
