"""One drain: short passes of evictions, each pod on its own, until nothing evictable runs.

A pod that comes back despite the cordon is let be.

Losing this object loses only the pauses between tries: the next pass asks the cluster anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from unshim.core import eviction
from unshim.core.eviction import Judgement, Verdict
from unshim.core.objects import Eviction, Manifest
from unshim.core.options import DrainOptions
from unshim.errors import ClusterUnavailable, DrainRefused
from unshim.ports import Cluster

PAUSE_SECONDS = 5.0  # before a blocked pod is tried again, as kubectl does
LONGEST_PAUSE = 60.0  # a longer Retry-After is cut
AT_ONCE = 8  # evictions in flight
PER_PASS = 64  # evictions per pass: with a 10 s limit each, a pass stays short
NAMED = 5  # pods named in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainState:
    """Where a drain stands. `blocked_by` names what holds pods up, most pods first."""

    done: bool
    message: str = ""
    pending: int = 0
    total: int = 0
    blocked_by: tuple[str, ...] = ()

    def as_status(self) -> dict[str, Any]:
        """`status.drain` of a NodeMigration."""
        return {"pending": self.pending, "total": self.total, "blockedBy": list(self.blocked_by)}


class Drain:
    """One node's drain. `total` is the most pods that were ever waited for."""

    def __init__(self, cluster: Cluster, options: DrainOptions) -> None:
        self._cluster, self._options = cluster, options
        self._not_before: dict[str, datetime] = {}  # pod uid -> next try
        self._held_by: dict[str, str] = {}  # pod uid -> what holds it up
        self._daemon_sets: dict[str, bool] = {}  # "namespace/name" -> exists
        self._known: set[str] = set()  # uids of pods that have to leave
        self._emptied: set[str] = set()  # their controllers
        self._back: Sequence[Judgement] = ()
        self._total = 0
        self._begun = False

    def pass_once(self, node: str, now: datetime) -> DrainState:
        """Evict what may go now and say what is still there.

        Raises DrainRefused, before anything is evicted, when the options do not allow a pod to go,
        and later when the API server says that a pod never can; ClusterUnavailable.
        """
        leaving = self._leaving(node, cached=self._begun)
        if self._begun and not leaving:
            leaving = self._leaving(node, cached=False)  # the end is never taken from a cache
        self._begun = True
        self._forget({j.uid for j in leaving})
        self._evict(node, [j for j in leaving if self._due(j, now)], now)
        self._total = max(self._total, len(leaving))
        return self._state(leaving)

    def _leaving(self, node: str, *, cached: bool) -> Sequence[Judgement]:
        """The pods whose containers must end. Raises DrainRefused for those that may not go."""
        pods = self._cluster.pods_on(node, cached=cached)
        verdicts = eviction.judge(pods, self._options, self.orphans(pods))
        self._refuse(node, [j for j in verdicts if j.verdict is Verdict.REFUSE])
        present = [j for j in verdicts if j.verdict in (Verdict.EVICT, Verdict.WAIT)]
        self._back = [j for j in present if self._came_back(j)]
        leaving = [j for j in present if not self._came_back(j)]
        self._known |= {j.uid for j in leaving}
        self._emptied |= {_controller(j) for j in leaving} - {""}
        return leaving

    def _came_back(self, judgement: Judgement) -> bool:
        """Its controller puts pods here whatever the cordon says, and would do so forever.

        By `nodeName` in its template, or by tolerating the taint node.kubernetes.io/unschedulable.
        kubectl drain does not wait for such pods either: they restart with the runtime.
        """
        new = judgement.verdict is Verdict.EVICT and judgement.uid not in self._known
        return new and _controller(judgement) in self._emptied

    def orphans(self, pods: Sequence[Manifest]) -> frozenset[str]:
        """DaemonSets that own a pod here and are gone. Existence is asked for once per drain."""
        owners = {name for pod in pods if (name := eviction.daemon_set_of(pod))}
        for name in owners - self._daemon_sets.keys():
            self._daemon_sets[name] = self._cluster.daemonset_exists(*name.split("/"))
        return frozenset(name for name in owners if not self._daemon_sets[name])

    def _refuse(self, node: str, refused: Sequence[Judgement]) -> None:
        if not refused:
            return
        options = sorted({f"spec.{j.option}" for j in refused if j.option})
        listed = _listed([f"{j.key} ({j.reason})" for j in refused])
        raise DrainRefused(
            f"node {node} cannot be drained: {listed}. None of these pods was evicted. Next: move "
            f"or delete them, or set {' and '.join(options)} and apply again."
        )

    def _forget(self, uids: set[str]) -> None:
        for memory in (self._not_before, self._held_by):
            for uid in memory.keys() - uids:
                del memory[uid]

    def _due(self, judgement: Judgement, now: datetime) -> bool:
        not_before = self._not_before.get(judgement.uid)
        return judgement.verdict is Verdict.EVICT and (not_before is None or now >= not_before)

    def _evict(self, node: str, due: Sequence[Judgement], now: datetime) -> None:
        """At most PER_PASS, several at a time: one that is slow or blocked holds up no other."""
        batch = due[:PER_PASS]
        if not batch:
            return
        with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(batch))) as pool:
            answers = list(pool.map(self._ask, batch))
        for judgement, answer in zip(batch, answers, strict=True):
            self._note(judgement, answer, now)
        self._name_budgets(
            [j for j, a in zip(batch, answers, strict=True) if a.verdict == "blocked"]
        )
        never = [(j, a) for j, a in zip(batch, answers, strict=True) if a.verdict == "refused"]
        if never:
            listed = _listed([f"{j.key} ({a.message})" for j, a in never])
            raise DrainRefused(f"node {node}: the API server will not evict {listed}")

    def _ask(self, judgement: Judgement) -> Eviction:
        grace = self._options.grace_period_seconds
        return self._cluster.evict(judgement.pod, grace_seconds=grace, dry_run=False)

    def _note(self, judgement: Judgement, answer: Eviction, now: datetime) -> None:
        """An evicted pod shows as terminating from now on; a blocked one is left alone a while."""
        self._held_by.pop(judgement.uid, None)
        pause = min(max(PAUSE_SECONDS, answer.retry_after), LONGEST_PAUSE)
        self._not_before[judgement.uid] = now + timedelta(seconds=pause)
        if answer.verdict == "blocked":
            self._held_by[judgement.uid] = answer.message

    def _name_budgets(self, blocked: Sequence[Judgement]) -> None:
        """Put the PodDisruptionBudget's name where the server only says that there is one."""
        for namespace in sorted({j.pod["metadata"]["namespace"] for j in blocked}):
            try:
                budgets = self._cluster.budgets(namespace)
            except ClusterUnavailable:
                continue  # the server's own words have to do
            for judgement in blocked:
                if found := eviction.budgets_of(judgement.pod, budgets):
                    self._held_by[judgement.uid] = _budget(found[0])

    def _state(self, leaving: Sequence[Judgement]) -> DrainState:
        if not leaving:
            back = _listed([j.key for j in self._back])
            more = f"; back despite the cordon, to restart with the runtime: {back}" if back else ""
            left = f"every evictable pod has left{more}"
            return DrainState(done=True, message=left, total=self._total)
        held = Counter(self._held_by[j.uid] for j in leaving if j.uid in self._held_by)
        names = _listed([self._named(j) for j in leaving])
        many = "1 pod has" if len(leaving) == 1 else f"{len(leaving)} pods have"
        return DrainState(
            done=False,
            message=f"{many} to leave: {names}",
            pending=len(leaving),
            total=self._total,
            blocked_by=tuple(name for name, _ in sorted(held.items(), key=lambda h: (-h[1], h[0]))),
        )

    def _named(self, judgement: Judgement) -> str:
        held = self._held_by.get(judgement.uid)
        return f"{judgement.key} (held by {held})" if held else judgement.key


def _controller(judgement: Judgement) -> str:
    """`namespace/kind/name`; empty for a pod without one."""
    owner = eviction.owner(judgement.pod)
    return f"{judgement.pod['metadata']['namespace']}/{owner.kind}/{owner.name}" if owner else ""


def _budget(budget: Manifest) -> str:
    metadata, status = budget["metadata"], budget.get("status") or {}
    return (
        f"PodDisruptionBudget {metadata['namespace']}/{metadata['name']}: "
        f"{status.get('currentHealthy', 0)} healthy, {status.get('desiredHealthy', 0)} required"
    )


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return ", ".join(texts[:NAMED]) + more
