"""containerd's configuration: one explicit file that serves the kubelet as Docker did.

The file is version 2, which every containerd from 1.3 to 2.x reads; a file that is version 3
already stays version 3. `disabled_plugins` is always written, because packages ship the CRI plugin
disabled. What an administrator has configured is read as TOML and carried over; what cannot be
understood is refused by name.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from unshim.core import flags
from unshim.core.edits import (
    containerd_merge,
    docker_settings,
    kubelet_config,
    kubelet_sources,
    node_values,
    toml_text,
)
from unshim.core.edits.docker_settings import Translation
from unshim.core.edits.registry_hosts import CONTAINERD_CERTS
from unshim.core.facts import NodeFacts
from unshim.core.options import Options
from unshim.core.steps import FileChange
from unshim.errors import UnsupportedNode

_HEADER = "# Written by unshim when this node moved from Docker Engine to containerd.\n\n"
#: Version assumed where containerd is yet to be installed: the settings of 1.6 suit 1.7 and 2.x.
_ASSUMED = (1, 6)
_PORTS_KERNEL = (4, 11)  # enable_unprivileged_ports and _icmp need namespaced sysctls
_DEFAULT_PULL_TIMEOUT = 300  # seconds, containerd 1.7.27 and later


def edit(facts: NodeFacts, _options: Options) -> tuple[FileChange, ...]:
    """The whole of containerd's file; nothing where the kubelet runs on it already."""
    if node_values.on_containerd(facts):
        return ()
    path = facts.containerd.config_path if facts.containerd else "/etc/containerd/config.toml"
    before = facts.files.get(path, facts.containerd.config_text if facts.containerd else None)
    found = containerd_merge.read(facts.hostname, path, before, version(facts))
    after = _HEADER + toml_text.dumps(wanted(facts, found))
    if before is not None and tomllib.loads(after) == _parsed(before):
        return ()
    return (FileChange(path=path, before=before, after=after),)


def _parsed(text: str) -> Mapping[str, Any]:
    return tomllib.loads(text)  # `containerd_merge.read` has parsed it before


def version(facts: NodeFacts) -> tuple[int, int]:
    """containerd's version. Raises UnsupportedNode below 1.5, which has no registry.config_path."""
    if facts.containerd is None or not facts.containerd.version:
        return _ASSUMED
    found = flags.minor(facts.containerd.version)
    if found < (1, 5):
        raise UnsupportedNode(
            f"{facts.hostname}: containerd {facts.containerd.version} is too old to take over "
            "Docker's registry settings. Nothing was changed. Upgrade it to 1.6 or 1.7 first."
        )
    return found


def wanted(facts: NodeFacts, found: Mapping[str, Any]) -> dict[str, Any]:
    """The document: what was found, with this node's values put in."""
    docker = docker_settings.translate(facts)
    document = containerd_merge.Document(found)
    document.enable_cri()
    for name, value in _cri(facts).items():
        document.set_cri(name, value)
    document.enable_selinux(docker.selinux)
    document.set_default("snapshotter", docker.snapshotter)
    _runtimes(facts, docker, document)
    document.set_cni(_cni(facts))
    document.set_registry({"config_path": CONTAINERD_CERTS})
    document.set_downloads(docker.max_concurrent_downloads, version(facts))
    return document.rendered()


def _cri(facts: NodeFacts) -> dict[str, Any]:
    values: dict[str, Any] = {"sandbox_image": node_values.pause_image(facts)}
    if version(facts) >= (1, 6):
        allowed = _unprivileged(facts)
        values["enable_unprivileged_ports"] = allowed
        values["enable_unprivileged_icmp"] = allowed
    timeout = _pull_timeout(facts)
    if timeout:
        values["image_pull_progress_timeout"] = timeout
    return values


def _unprivileged(facts: NodeFacts) -> bool:
    """Whether pods may bind low ports and ping without privilege, as under Docker 20.10 and later.

    Must be false on kernels before 4.11: containerd 2.x would not load the CRI plugin.
    """
    version = facts.docker.version if facts.docker else ""
    docker = flags.minor(version) if version else (20, 10)
    return flags.minor(facts.kernel) >= _PORTS_KERNEL and docker >= (20, 10)


def _pull_timeout(facts: NodeFacts) -> str:
    """dockershim's --image-pull-progress-deadline, where longer than its default of a minute."""
    seconds = _seconds(node_values.shim_flag(facts, "image-pull-progress-deadline", "1m"))
    if version(facts) < (1, 7) or seconds <= 60:
        return ""
    return f"{max(seconds, _DEFAULT_PULL_TIMEOUT)}s"


def _seconds(duration: str) -> int:
    """A Go duration such as `1m30s`, in whole seconds."""
    units = {"h": 3600, "m": 60, "s": 1}
    return int(sum(float(n) * units[u] for n, u in re.findall(r"([\d.]+)([hms])(?!s)", duration)))


def _cni(facts: NodeFacts) -> dict[str, Any]:
    binaries = [
        folder.strip()
        for folder in node_values.shim_flag(facts, "cni-bin-dir", "/opt/cni/bin").split(",")
    ]
    values: dict[str, Any] = {
        "conf_dir": node_values.shim_flag(facts, "cni-conf-dir", "/etc/cni/net.d")
    }
    if version(facts) >= (2, 1):  # which refuses both names at once
        return values | {"bin_dirs": binaries}
    if len(binaries) == 1:
        return values | {"bin_dir": binaries[0]}
    raise UnsupportedNode(
        f"{facts.hostname}: --cni-bin-dir names {len(binaries)} folders ({', '.join(binaries)}); "
        "containerd before 2.1 reads one. Nothing was changed. Put all CNI plugins into one folder."
    )


def _refuse_driver_flip(facts: NodeFacts, driver: str) -> None:
    """From 1.31 on the kubelet asks the runtime for the driver, and containerd 1.x has no answer.

    Then it falls back to its own configuration, which may never have mattered before.
    """
    kubelet = kubelet_sources.running(facts)
    if flags.minor(kubelet.version) < (1, 31) or version(facts) >= (2, 0):
        return
    flag = flags.effective(kubelet.argv).get("cgroup-driver", "")
    own = flag or kubelet_config.value(facts, "cgroupDriver") or "cgroupfs"
    if own != driver:
        raise UnsupportedNode(
            f"{facts.hostname}: pods run with the cgroup driver {driver}, but the kubelet's own "
            f"setting is {own}, and it would fall back to that with containerd 1.x. Nothing was "
            f"changed. Set cgroupDriver: {driver} in {kubelet.config_path or 'its configuration'}."
        )


def _runtimes(facts: NodeFacts, docker: Translation, document: containerd_merge.Document) -> None:
    """runc and Docker's other runtimes, each with the kubelet's cgroup driver.

    A runtime without SystemdCgroup falls back to cgroupfs on its own.
    """
    driver = facts.kubelet.cgroup_driver if facts.kubelet else ""
    _refuse_driver_flip(facts, driver)
    if driver not in ("systemd", "cgroupfs"):
        raise UnsupportedNode(
            f"{facts.hostname}: the kubelet's effective cgroup driver is unknown "
            f"({driver or 'not found'}), and containerd must have the same. Nothing was changed."
        )
    systemd = driver == "systemd"
    document.set_runtime("runc", "io.containerd.runc.v2", "", systemd)
    for runtime in docker.runtimes:
        document.set_runtime(runtime.name, runtime.type, runtime.binary, systemd)
    document.follow_cgroups(systemd)
    if docker.default_runtime != "runc":
        document.set_containerd("default_runtime_name", docker.default_runtime)
    document.set_default("default_runtime_name", "runc")
