"""Where pods could go while their node is away, and which have only this one."""

from __future__ import annotations

from collections.abc import Iterator

from unshim.audit import links, paths
from unshim.audit.finding import Severity, Subject
from unshim.audit.rule import Hit, NodeView, Survey, node_rule
from unshim.audit.workloads import node_path
from unshim.core.eviction import Judgement, Verdict
from unshim.core.objects import Manifest
from unshim.core.options import DrainOptions

BLOCKER, WARNING, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO

_HOSTNAME = "kubernetes.io/hostname"
#: Folders that every node has: a pod that mounts them keeps no data of its own there.
_SYSTEM = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys"),
    *("/tmp", "/usr", "/var/lib/docker", "/var/lib/kubelet", "/var/log"),  # noqa: S108
)


def leaving(node: NodeView) -> list[Judgement]:
    """The pods that a drain takes away, or would once it is allowed to."""
    return [j for j in node.judged if j.verdict in (Verdict.EVICT, Verdict.REFUSE)]


def _subject(pod: Manifest) -> Subject:
    meta = pod["metadata"]
    return Subject(kind="Pod", namespace=meta.get("namespace", ""), name=str(meta["name"]))


@node_rule(
    "bound-to-node",
    INFO,
    title="A pod can run on this node only, or leaves data behind",
    why="A pod whose volume or selector names this node stays Pending from the drain until the "
    "node is back: its application is down that long. A pod that keeps data in a folder of the "
    "node starts elsewhere without them.",
    fix="Plan for the pause, or scale the workload so that others serve meanwhile.",
    link=f"{links.K8S}concepts/storage/volumes/#local",
)
def bound_to_node(node: NodeView, survey: Survey) -> Iterator[Hit]:
    for judgement in leaving(node):
        pod = judgement.pod
        for message in (*_bonds(pod, survey), *_data(pod)):
            yield Hit(
                message=f"{judgement.key} {message}",
                subject=_subject(pod),
                chain=survey.chain(pod),
            )


def _bonds(pod: Manifest, survey: Survey) -> Iterator[str]:
    spec = pod["spec"]
    if _HOSTNAME in (spec.get("nodeSelector") or {}):
        yield "selects this node by its name and waits for it"
    for volume in spec.get("volumes") or ():
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName", "")
        persistent = survey.claims.get(f"{pod['metadata'].get('namespace', '')}/{claim}")
        if persistent is not None and (node_path(persistent) or _pinned(persistent)):
            name = persistent["metadata"]["name"]
            yield f"uses PersistentVolume {name}, which is on this node, and waits for it"


def _pinned(volume: Manifest) -> bool:
    affinity = ((volume.get("spec") or {}).get("nodeAffinity") or {}).get("required") or {}
    terms = affinity.get("nodeSelectorTerms") or ()
    keys = [e.get("key") for term in terms for e in term.get("matchExpressions") or ()]
    return _HOSTNAME in keys


def _data(pod: Manifest) -> Iterator[str]:
    """Folders outside the system's own that the pod may write."""
    spec = pod["spec"]
    mounts = [m for c in spec.get("containers") or () for m in c.get("volumeMounts") or ()]
    written = {mount.get("name") for mount in mounts if not mount.get("readOnly")}
    for volume in spec.get("volumes") or ():
        place = volume.get("hostPath") or {}
        folder = place.get("type") in (None, "", "Directory", "DirectoryOrCreate")
        path = paths.normalise(str(place.get("path", "")))
        owned = path not in paths.SOCKET_PARENTS and not any(paths.inside(path, s) for s in _SYSTEM)
        if place and folder and owned and not path.endswith(".sock") and volume["name"] in written:
            yield f"may keep data in {place['path']} of this node, and would start without them"


@node_rule(
    "nowhere-to-go",
    WARNING,
    title="No other node takes pods",
    why="The drain moves pods to other nodes. When there is none that is Ready, schedulable and "
    "free of taints, every evicted pod waits until this node is back.",
    fix="Add a node, or uncordon one, before the migration. Or choose a quiet time.",
    link=links.DRAIN,
)
def nowhere_to_go(node: NodeView, survey: Survey) -> Iterator[Hit]:
    others = len(survey.open_nodes) - (node.name in survey.open_nodes)
    if not survey.snapshot.whole_cluster or others:
        return
    if count := len(leaving(node)):
        yield Hit(message=f"{count} pods of {node.name} would wait until it is back")


@node_rule(
    "long-termination",
    WARNING,
    title="A pod may take longer to stop than the drain waits",
    why="The drain ends at its time limit. A pod that uses all of its grace period is not gone "
    "then, and the node is uncordoned and left as it was.",
    fix="Raise drain.timeoutSeconds, or set drain.gracePeriodSeconds.",
    link=f"{links.K8S}concepts/workloads/pods/pod-lifecycle/#pod-termination",
)
def long_termination(node: NodeView, survey: Survey) -> Iterator[Hit]:
    drain = survey.snapshot.options.drain if survey.snapshot.options else DrainOptions()
    for judgement in leaving(node):
        own = judgement.pod["spec"].get("terminationGracePeriodSeconds") or 30
        grace = own if drain.grace_period_seconds is None else drain.grace_period_seconds
        if grace >= drain.timeout_seconds:
            yield Hit(
                message=f"{judgement.key} may take {grace} s, the drain waits "
                f"{drain.timeout_seconds} s",
                subject=_subject(judgement.pod),
                chain=survey.chain(judgement.pod),
            )
