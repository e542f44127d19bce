"""Every setting of the Docker daemon and what becomes of it under containerd.

`translate` is total: a key it does not know becomes a blocker, never silence. The key list is that
of dockerd 20.10, 24 and 27 (json tags of daemon/config). Audit rules show the result; the other
edits take their values from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from unshim.core.edits import docker_arguments, docker_keys, docker_values
from unshim.core.edits.docker_values import LogRotation, Runtime
from unshim.core.facts import NodeFacts
from unshim.errors import UnsupportedNode

DAEMON_JSON = "/etc/docker/daemon.json"


class Outcome(StrEnum):
    """What happens to a setting."""

    TRANSLATED = "translated"
    DROPPED = "dropped"  # without harm, or with a notice of what is lost
    BLOCKER = "blocker"  # a person must decide


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """One setting's outcome. `note` says where it goes, or what is lost, or what to do."""

    key: str
    value: str
    outcome: Outcome
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """The whole daemon configuration, carried over as far as it can be."""

    fates: tuple[Fate, ...]
    mirrors: tuple[str, ...] = ()  # URLs, in order, for docker.io
    insecure: tuple[str, ...] = ()  # hosts and CIDRs
    log_rotation: LogRotation | None = None
    snapshotter: str = "overlayfs"
    runtimes: tuple[Runtime, ...] = ()
    default_runtime: str = "runc"
    selinux: bool = False
    max_concurrent_downloads: int = 3  # containerd's and Docker's default
    proxies: Mapping[str, str] = field(default_factory=dict)  # environment name -> value
    limits: Mapping[str, str] = field(default_factory=dict)  # systemd's LimitX= -> value

    @property
    def blockers(self) -> tuple[Fate, ...]:
        return tuple(fate for fate in self.fates if fate.outcome is Outcome.BLOCKER)

    @property
    def notices(self) -> tuple[Fate, ...]:
        return tuple(fate for fate in self.fates if fate.outcome is Outcome.DROPPED and fate.note)


def settings(facts: NodeFacts) -> Mapping[str, Any]:
    """daemon.json joined with dockerd's own arguments, by daemon.json's key names.

    A key stands in one of the two: dockerd refuses to start on a conflict.
    Raises UnsupportedNode when daemon.json does not parse.
    """
    text = facts.files.get(DAEMON_JSON, "").strip()
    try:
        from_file = json.loads(text) if text else {}
    except ValueError as exc:
        raise UnsupportedNode(
            f"{facts.hostname}: {DAEMON_JSON} does not parse: {exc}. Docker would not start with "
            "it either. Nothing was changed. Repair the file and try again."
        ) from exc
    if not isinstance(from_file, dict):
        raise UnsupportedNode(f"{facts.hostname}: {DAEMON_JSON} holds no object. Repair it.")
    argv = facts.docker.argv if facts.docker else ()
    return {**docker_arguments.as_settings(argv[1:]), **from_file}


def translate(facts: NodeFacts) -> Translation:
    """What each of the daemon's settings becomes."""
    found = settings(facts)
    return Translation(
        fates=tuple(_fate(facts, key, found) for key in sorted(found)) + _lost_log_options(found),
        mirrors=tuple(found.get("registry-mirrors", ())),
        insecure=tuple(found.get("insecure-registries", ())),
        log_rotation=docker_values.log_rotation(found),
        snapshotter=docker_values.snapshotter(facts, found),
        runtimes=docker_values.runtimes(found),
        default_runtime=docker_values.default_runtime(found),
        selinux=bool(found.get("selinux-enabled", False)),
        max_concurrent_downloads=int(found.get("max-concurrent-downloads", 3)),
        proxies=docker_values.proxies(facts, found),
        limits=docker_values.limits(found),
    )


def _fate(facts: NodeFacts, key: str, found: Mapping[str, Any]) -> Fate:
    value = found[key]
    outcome, note = _judged(facts, key, value, found)
    return Fate(key=key, value=_shown(key, value), outcome=outcome, note=note)


def _shown(key: str, value: Any) -> str:
    if "proxy" in key or "proxies" in key:
        return "(hidden)"  # proxy URLs may hold a password
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 200 else text[:197] + "..."


def _judged(
    facts: NodeFacts, key: str, value: Any, found: Mapping[str, Any]
) -> tuple[Outcome, str]:
    if key in docker_keys.TRANSLATED:
        problem = _untranslatable(facts, key, value, found)
        return (
            (Outcome.BLOCKER, problem)
            if problem
            else (Outcome.TRANSLATED, docker_keys.TRANSLATED[key])
        )
    if key in docker_keys.BLOCKERS:
        if not value:
            return Outcome.DROPPED, ""
        return Outcome.BLOCKER, docker_keys.BLOCKERS[key]
    if key in docker_keys.DROPPED:
        harmless = not value or (key == "hosts" and _local(value))
        return Outcome.DROPPED, "" if harmless else docker_keys.DROPPED[key]
    return Outcome.BLOCKER, (
        "this setting is unknown to unshim, so what depends on it is unknown too. Remove it from "
        "the daemon's configuration or ignore this rule knowingly"
    )


def _untranslatable(facts: NodeFacts, key: str, value: Any, found: Mapping[str, Any]) -> str:
    """Why this value of a setting that is otherwise carried over cannot be; empty when it can."""
    match key:
        case "log-driver" if value not in ("json-file", "local", ""):
            return (
                f"logs go to {value} today. Under containerd they are files that the kubelet "
                "rotates, so they stop arriving there. Set up a log agent, then set log-driver to "
                "json-file"
            )
        case "exec-opts":
            return _cgroup_conflict(facts, value)
        case "storage-driver" if value not in docker_keys.SNAPSHOTTERS:
            return f"containerd has no counterpart of the storage driver {value}"
        case "default-runtime" if not _startable(value, found):
            return f"the default runtime {value} cannot be started by containerd's runc shim"
        case "default-ulimits" if len(docker_values.limits(found)) != len(value):
            return "a limit has no counterpart in systemd's Limit settings"
    return ""


def _startable(runtime: str, found: Mapping[str, Any]) -> bool:
    return docker_values.default_runtime(found) != "runc" or runtime in docker_values.BUILT_IN


def _cgroup_conflict(facts: NodeFacts, options: Sequence[str]) -> str:
    kubelet = facts.kubelet.cgroup_driver if facts.kubelet else ""
    for option in options:
        name, _, driver = option.partition("=")
        if name == "native.cgroupdriver" and kubelet and driver != kubelet:
            return (
                f"Docker's cgroup driver is {driver}, the kubelet's is {kubelet}. They must agree "
                "before the runtime may change"
            )
    return ""


def _local(hosts: Sequence[str]) -> bool:
    return all(host.startswith(("unix://", "fd://")) for host in hosts)


def _lost_log_options(found: Mapping[str, Any]) -> tuple[Fate, ...]:
    return tuple(
        Fate(
            key=f"log-opts.{name}",
            value=str(value),
            outcome=Outcome.DROPPED,
            note="the kubelet's log rotation has no such option",
        )
        for name, value in sorted(found.get("log-opts", {}).items())
        if name not in ("max-size", "max-file")
    )
