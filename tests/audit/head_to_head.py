"""What a single substring finds: the rule of the kubectl plugin "Detector for Docker Socket".

It looks at the hostPath volumes of pods and of the controllers that own them, and asks whether the
path contains `docker.sock` or `dockershim.sock`. This models that behaviour, to compare with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.audit import loading
from unshim.audit import Snapshot, audit
from unshim.audit.workloads import template_of

#: Rules about what workloads depend on: the ground that both detectors claim.
WORKLOAD_RULES = (
    "docker-socket",
    "cri-socket",
    "socket-folder",
    "volume-at-docker",
    "docker-data",
    "docker-files",
    "docker-host",
    "docker-command",
    "docker-argument",
    "privileged-near-docker",
    "docker-in-docker",
    "known-agent",
    "log-parser",
    "docker-in-config",
    "apparmor-docker-default",
    "seccomp-docker-default",
    "runtime-class",
    "exec-probe-timeout",
    "image-never-pulled",
)
_KINDS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob")


def substring_detector(snapshot: Snapshot) -> bool:
    """Whether the substring finds anything in a snapshot."""
    templates = [template_of(c) for c in snapshot.controllers if c.get("kind") in _KINDS]
    specs = [t.get("spec") or {} for t in (*templates, *snapshot.pods) if t]
    return any(
        "docker.sock" in path or "dockershim.sock" in path for s in specs for path in _paths(s)
    )


def _paths(spec: Mapping[str, Any]) -> Iterator[str]:
    for volume in spec.get("volumes") or ():
        yield str((volume.get("hostPath") or {}).get("path", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Over the cases of one rule: there is something to find, or (near miss) nothing."""

    cases: int = 0
    found: int = 0
    substring_found: int = 0
    misses: int = 0
    alarms: int = 0
    substring_alarms: int = 0


def scores() -> dict[str, Score]:
    """Both detectors over every case about workloads."""
    return {rule: _score(rule) for rule in WORKLOAD_RULES}


def _score(rule: str) -> Score:
    total = dict.fromkeys(Score.__dataclass_fields__, 0)
    for path in sorted((loading.HERE / "cases" / rule).glob("*.json")):
        case = json.loads(path.read_text())
        snapshot = loading.snapshot(case["snapshot"])
        ours = any(finding.rule == rule for finding in audit(snapshot))
        theirs = substring_detector(snapshot)
        wanted = any(finding["rule"] == rule for finding in case["findings"])
        total["cases" if wanted else "misses"] += 1
        total["found" if wanted else "alarms"] += ours
        total["substring_found" if wanted else "substring_alarms"] += theirs
    return Score(**total)


def table() -> str:
    """The comparison as Markdown."""
    titles = "rule, cases, unshim finds, substring finds, near misses, unshim alarms"
    titles += ", substring alarms"
    lines = [f"| {titles.replace(', ', ' | ')} |", "|---|--:|--:|--:|--:|--:|--:|"]
    found = scores()
    for rule, score in found.items():
        lines.append(_row(f"[{rule}](rules.md#{rule})", score))
    total = [sum(getattr(s, name) for s in found.values()) for name in Score.__dataclass_fields__]
    names = list(Score.__dataclass_fields__)
    lines.append(_row("**all**", Score(**dict(zip(names, total, strict=True)))))
    return "\n".join(lines)


def _row(name: str, score: Score) -> str:
    return (
        f"| {name} | {score.cases} | {score.found} | {score.substring_found} "
        f"| {score.misses} | {score.alarms} | {score.substring_alarms} |"
    )
