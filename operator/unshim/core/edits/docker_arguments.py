"""dockerd's command line under the key names of daemon.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_SHORT = {"-H": "--host", "-D": "--debug", "-l": "--log-level", "-s": "--storage-driver"}
_SHORT |= {"-G": "--group", "-b": "--bridge", "-g": "--data-root", "-p": "--pidfile"}
#: Flags that may be repeated, and daemon.json's plural of each.
_LISTS = {
    "add-registry": "add-registry",
    "allow-nondistributable-artifacts": "allow-nondistributable-artifacts",
    "authorization-plugin": "authorization-plugins",
    "block-registry": "block-registry",
    "cdi-spec-dir": "cdi-spec-dirs",
    "default-address-pool": "default-address-pools",
    "dns": "dns",
    "dns-opt": "dns-opts",
    "dns-search": "dns-search",
    "exec-opt": "exec-opts",
    "host": "hosts",
    "insecure-registry": "insecure-registries",
    "label": "labels",
    "node-generic-resource": "node-generic-resources",
    "registry-mirror": "registry-mirrors",
    "storage-opt": "storage-opts",
}
_MAPS = {"log-opt": "log-opts"}
_BOOLEANS_TEXT = """
    cri-containerd debug experimental icc init ip-forward ip-masq ip6tables iptables ipv6
    live-restore no-new-privileges raw-logs rootless selinux-enabled tls tlsverify userland-proxy
    validate
"""
_BOOLEANS = frozenset(_BOOLEANS_TEXT.split())


def as_settings(words: Sequence[str]) -> dict[str, Any]:
    """daemon.json's keys and values for these arguments of dockerd."""
    found: dict[str, Any] = {}
    index = 0
    while index < len(words):
        name, equals, value = words[index].partition("=")
        name = _SHORT.get(name, name)
        index += 1
        if not name.startswith("--"):
            continue
        name = name.removeprefix("--")
        if not equals and name in _BOOLEANS:
            value = "true"
        elif not equals and index < len(words):
            value = words[index]
            index += 1
        _put(found, name, value.strip("\"'"))
    return found


def _put(found: dict[str, Any], name: str, value: str) -> None:
    if name in _LISTS:
        found.setdefault(_LISTS[name], []).append(value)
    elif name in _MAPS:
        key, _, text = value.partition("=")
        found.setdefault(_MAPS[name], {})[key] = text
    elif name == "default-ulimit":
        key, _, text = value.partition("=")
        soft, _, hard = text.partition(":")
        found.setdefault("default-ulimits", {})[key] = {"Soft": soft, "Hard": hard or soft}
    elif name == "add-runtime":
        key, _, text = value.partition("=")
        found.setdefault("runtimes", {})[key] = {"path": text}
    elif name in _BOOLEANS:
        found[name] = value == "true"
    else:
        found[name] = value
