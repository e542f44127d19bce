"""Docker's settings converted into the units and names of containerd, the kubelet and systemd."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unshim.core.edits import docker_keys
from unshim.core.facts import NodeFacts

#: dockerd's names of its built-in runtime.
BUILT_IN = ("runc", "io.containerd.runc.v2", "io.containerd.runtime.v1.linux", "")
_DECIMAL = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRotation:
    """Docker's log limits in the kubelet's units."""

    max_size: str  # a Kubernetes quantity: "10M"
    max_files: int  # two or more


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """An OCI runtime that containerd can start. `binary` is for the runc shim only."""

    name: str
    type: str = "io.containerd.runc.v2"
    binary: str = ""


def log_rotation(found: Mapping[str, Any]) -> LogRotation | None:
    """Docker's log limits, or None when it rotates nothing.

    Docker counts `10m` in powers of ten; to Kubernetes `10m` is 0.01 and stops the kubelet. The
    kubelet wants two files or more where json-file keeps one by default.
    """
    options = found.get("log-opts", {})
    size = _decimal_bytes(str(options.get("max-size", "")))
    if size is None or found.get("log-driver", "json-file") not in ("json-file", "local", ""):
        return None
    default = "5" if found.get("log-driver") == "local" else "1"
    files = str(options.get("max-file", default))
    return LogRotation(
        max_size=_quantity(size), max_files=max(2, int(files) if files.isdigit() else 2)
    )


def _decimal_bytes(text: str) -> int | None:
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?", text.strip().lower())
    if match is None:
        return None
    size = int(float(match[1]) * _DECIMAL[match[2]])
    return size if size > 0 else None


def _quantity(size: int) -> str:
    for suffix, unit in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if size % unit == 0:
            return f"{size // unit}{suffix}"
    return str(size)


def snapshotter(facts: NodeFacts, found: Mapping[str, Any]) -> str:
    """The counterpart of Docker's storage driver, if containerd's file system can bear it."""
    info = facts.docker.info if facts.docker else {}
    driver = str(found.get("storage-driver") or info.get("Driver") or "overlay2")
    name = docker_keys.SNAPSHOTTERS.get(driver, "overlayfs")
    if name != "btrfs":
        return name
    root = facts.containerd.root if facts.containerd else "/var/lib/containerd"
    disks = [disk for disk in facts.disks if disk.path == root]
    return "btrfs" if disks and disks[0].fstype == "btrfs" else "overlayfs"


def runtimes(found: Mapping[str, Any]) -> tuple[Runtime, ...]:
    """The runtimes besides runc that containerd can start."""
    return tuple(
        runtime
        for name, entry in sorted(found.get("runtimes", {}).items())
        if name != "runc" and (runtime := _runtime(name, entry)) is not None
    )


def _runtime(name: str, entry: Mapping[str, Any]) -> Runtime | None:
    """None for a runtime that needs its own shim (gVisor, Kata) but is given as a binary."""
    if entry.get("runtimeType"):
        return Runtime(name=name, type=str(entry["runtimeType"]))
    path = str(entry.get("path", ""))
    base = path.rsplit("/", 1)[-1]
    if not path or base.startswith(("runsc", "kata")):
        return None
    return Runtime(name=name, binary=path)


def default_runtime(found: Mapping[str, Any]) -> str:
    """The runtime that pods get today, or runc when containerd cannot start that one."""
    name = str(found.get("default-runtime") or "runc")
    return name if name in {runtime.name for runtime in runtimes(found)} else "runc"


def proxies(facts: NodeFacts, found: Mapping[str, Any]) -> Mapping[str, str]:
    """dockerd's proxies under the upper-case names Go reads; daemon.json's win, as in dockerd."""
    environment = facts.docker.environment if facts.docker else {}
    given = found.get("proxies", {})
    names = {}
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        key, lower = name.lower().replace("_", "-"), name.lower()
        value = given.get(key) or found.get(key) or environment.get(name) or environment.get(lower)
        if value:
            names[name] = str(value)
    return names


def limits(found: Mapping[str, Any]) -> Mapping[str, str]:
    """Docker's default-ulimits as systemd's Limit settings, which containerd's shims inherit."""
    directives = {}
    for name, entry in sorted(found.get("default-ulimits", {}).items()):
        directive = docker_keys.LIMITS.get(name)
        if directive is not None and isinstance(entry, Mapping):
            soft = _limit(entry.get("Soft", -1))
            hard = _limit(entry.get("Hard", -1))
            directives[directive] = soft if soft == hard else f"{soft}:{hard}"
    return directives


def _limit(value: Any) -> str:
    return "infinity" if int(value) == -1 else str(int(value))
