"""Which pods must leave a node, which stay, and which may not be touched. Pure.

The filters and their order are kubectl drain's (DaemonSet, mirror, local storage, no controller),
with one purpose of our own: no evictable pod's containers may run when the runtime is exchanged.
A pod whose containers have all ended therefore needs no eviction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from unshim.core import selectors
from unshim.core.objects import CANARY_LABEL, Manifest
from unshim.core.options import DrainOptions

MIRROR_ANNOTATION = "kubernetes.io/config.mirror"


class Verdict(StrEnum):
    EVICT = "evict"
    WAIT = "wait"  # already being deleted; its containers have not ended yet
    KEEP = "keep"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What is to be done with one pod, and why. `option` is the one that overrides a refusal."""

    pod: Manifest
    verdict: Verdict
    reason: str = ""
    option: str = ""

    @property
    def key(self) -> str:
        """`namespace/name`, as people write it."""
        return f"{self.pod['metadata']['namespace']}/{self.pod['metadata']['name']}"

    @property
    def uid(self) -> str:
        return str(self.pod["metadata"]["uid"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A pod's controlling owner (ownerReference with `controller: true`)."""

    kind: str
    name: str


def judge(
    pods: Sequence[Manifest], options: DrainOptions, orphaned: frozenset[str] = frozenset()
) -> tuple[Judgement, ...]:
    """A verdict for each pod, sorted by namespace and name.

    `orphaned` holds "namespace/name" of DaemonSets that own a pod here and no longer exist.
    Raises InvalidSpec when the pod selector does not parse.
    """
    selector = selectors.parse(options.pod_selector)
    verdicts = [_judge(pod, options, selector, orphaned) for pod in pods]
    return tuple(sorted(verdicts, key=lambda judgement: judgement.key))


def _judge(
    pod: Manifest, options: DrainOptions, selector: Mapping[str, Any], orphaned: frozenset[str]
) -> Judgement:
    for found in _filters(pod, options, selector, orphaned):
        if found is not None:
            verdict, reason, option = found
            return Judgement(pod=pod, verdict=verdict, reason=reason, option=option)
    if pod["metadata"].get("deletionTimestamp"):
        return Judgement(pod=pod, verdict=Verdict.WAIT, reason="it is terminating")
    return Judgement(pod=pod, verdict=Verdict.EVICT)


_Found = tuple[Verdict, str, str]


def _filters(
    pod: Manifest, options: DrainOptions, selector: Mapping[str, Any], orphaned: frozenset[str]
) -> Iterator[_Found | None]:
    """What each filter says, in order; the first one that says something decides."""
    yield _ended(pod)
    yield _canary(pod)
    yield _daemon_set(pod, options, orphaned)
    yield _mirror(pod)
    yield _unselected(pod, selector)
    if not _terminating(pod):
        yield _local_storage(pod, options)
        yield _unmanaged(pod, options, orphaned)


def _ended(pod: Manifest) -> _Found | None:
    """Finished, or deleted with every container ended and only finalizers keeping the object.

    Without them the kubelet has volumes to unmount still, and the object to delete. Left to the new
    kubelet, that holds up the DaemonSets' pods: old ones make 5 requests a second (kubeAPIQPS).
    """
    if finished(pod):
        return Verdict.KEEP, "it has finished: none of its containers runs", ""
    if _terminating(pod) and not may_run(pod) and pod["metadata"].get("finalizers"):
        return Verdict.KEEP, "its containers have ended; finalizers keep the object", ""
    return None


def _canary(pod: Manifest) -> _Found | None:
    if CANARY_LABEL in (pod["metadata"].get("labels") or {}):
        return Verdict.KEEP, "it is a canary of ours", ""
    return None


def _daemon_set(pod: Manifest, options: DrainOptions, orphaned: frozenset[str]) -> _Found | None:
    daemon_set = daemon_set_of(pod)
    if daemon_set is None:
        return None
    if daemon_set in orphaned:
        if options.force:
            return None
        return Verdict.REFUSE, f"its DaemonSet {daemon_set} no longer exists", "drain.force"
    if options.ignore_daemon_sets:
        return Verdict.KEEP, "a DaemonSet manages it and would start it here again", ""
    return Verdict.REFUSE, "a DaemonSet manages it", "drain.ignoreDaemonSets"


def _mirror(pod: Manifest) -> _Found | None:
    if mirror(pod):
        return Verdict.KEEP, "it is a static pod of the node", ""
    return None


def _unselected(pod: Manifest, selector: Mapping[str, Any]) -> _Found | None:
    if selectors.matches(selector, pod["metadata"].get("labels") or {}):
        return None
    return Verdict.KEEP, "drain.podSelector does not select it; it restarts with the runtime", ""


def _local_storage(pod: Manifest, options: DrainOptions) -> _Found | None:
    volumes = (pod.get("spec") or {}).get("volumes") or ()
    names = [str(volume.get("name")) for volume in volumes if "emptyDir" in volume]
    if not names or options.delete_empty_dir_data:
        return None
    return (
        Verdict.REFUSE,
        f"the data of its emptyDir {', '.join(names)} would be lost",
        "drain.deleteEmptyDirData",
    )


def _unmanaged(pod: Manifest, options: DrainOptions, orphaned: frozenset[str]) -> _Found | None:
    if options.force or (owner(pod) is not None and daemon_set_of(pod) not in orphaned):
        return None
    return Verdict.REFUSE, "no controller owns it: it would not come back", "drain.force"


def owner(pod: Manifest) -> Owner | None:
    """The controller; other owner references do not bring a pod back."""
    for reference in pod["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return Owner(kind=str(reference.get("kind")), name=str(reference.get("name")))
    return None


def daemon_set_of(pod: Manifest) -> str | None:
    """`namespace/name` of the DaemonSet that manages the pod."""
    controller = owner(pod)
    if controller is None or controller.kind != "DaemonSet":
        return None
    return f"{pod['metadata']['namespace']}/{controller.name}"


def mirror(pod: Manifest) -> bool:
    """The API's image of a static pod; deleting it stops nothing."""
    return MIRROR_ANNOTATION in (pod["metadata"].get("annotations") or {})


def finished(pod: Manifest) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _terminating(pod: Manifest) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def may_run(pod: Manifest) -> bool:
    """False only when the kubelet has reported every container as ended."""
    status = pod.get("status") or {}
    statuses = [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
        *(status.get("ephemeralContainerStatuses") or ()),
    ]
    return not statuses or any("terminated" not in (s.get("state") or {}) for s in statuses)


def budgets_of(pod: Manifest, budgets: Sequence[Manifest]) -> tuple[Manifest, ...]:
    """The PodDisruptionBudgets that select a pod; a budget without selector selects nothing here.

    (Its meaning changed between policy/v1beta1, nothing, and policy/v1, everything.)
    """
    labels = pod["metadata"].get("labels") or {}
    return tuple(
        budget
        for budget in budgets
        if budget["metadata"]["namespace"] == pod["metadata"]["namespace"]
        and (selector := (budget.get("spec") or {}).get("selector")) is not None
        and (selector or budget.get("apiVersion") == "policy/v1")
        and selectors.matches(selector, labels)
    )
