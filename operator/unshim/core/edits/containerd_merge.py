"""A containerd configuration as a document: read it, judge it, put values where they belong.

Version 1 (also: no version at all) looks plugins up by short names, version 2 by full ones; version
3 splits the CRI plugin in two. A table in the wrong version's spelling is silently ignored by
containerd, so it never took effect and is refused here, by name.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping
from typing import Any

from unshim.errors import UnsupportedNode

CRI = "io.containerd.grpc.v1.cri"
IMAGES = "io.containerd.cri.v1.images"
RUNTIME = "io.containerd.cri.v1.runtime"
TRANSFER = "io.containerd.transfer.v1.local"
_RUNC_SHIMS = ("io.containerd.runc.v1", "io.containerd.runc.v2")
#: Top-level settings with one meaning in versions 1 to 3.
_COMMON_TEXT = """
    version root state temp plugin_dir oom_score grpc ttrpc debug metrics disabled_plugins
    required_plugins plugins cgroup proxy_plugins timeouts stream_processors subreaper imports
"""
_COMMON = frozenset(_COMMON_TEXT.split())


def read(
    hostname: str, path: str, text: str | None, containerd: tuple[int, int]
) -> Mapping[str, Any]:
    """The configuration to build upon: version 2 or 3, perhaps empty.

    Raises UnsupportedNode naming the keys that cannot be carried over.
    """
    try:
        found = tomllib.loads(text or "")
    except tomllib.TOMLDecodeError as exc:
        raise UnsupportedNode(
            f"{hostname}: {path} does not parse: {exc}. Nothing was changed. Repair it first."
        ) from exc
    # `containerd config dump` names the file itself among its imports.
    imports = [name for name in found.pop("imports", []) if name != path]
    found |= {"imports": imports} if imports else {}
    problems = _problems(found, containerd)
    if problems:
        raise UnsupportedNode(
            f"{hostname}: {path} holds settings that cannot be carried over: "
            f"{'; '.join(problems)}. Nothing was changed. Move them out of the way, or delete the "
            "file to have it written anew."
        )
    if _version(found) == 1:
        return _upgraded(found)
    return found


def _version(found: Mapping[str, Any]) -> int:
    version = found.get("version", 1)
    return version if isinstance(version, int) and version else 1


def _problems(found: Mapping[str, Any], containerd: tuple[int, int]) -> list[str]:
    version = _version(found)
    problems = [f"{key} (unknown)" for key in sorted(set(found) - _COMMON)]
    if version > 3 or (version == 3 and containerd < (2, 0)):
        problems.append(f"version = {version}")
    if found.get("imports") and containerd < (2, 2):
        # Before 2.2 an imported file that sets one CRI key replaces the whole CRI table.
        problems.append(f"imports = {found['imports']}")
    for name, table in found.get("plugins", {}).items():
        problems += _plugin_problems(version, name, table)
    return problems


def _plugin_problems(version: int, name: str, table: Any) -> list[str]:
    full = name.startswith("io.containerd.")
    if full != (version > 1):
        return [f"plugins.{name} (containerd ignores this name in a version {version} file)"]
    if not isinstance(table, Mapping):
        return [f"plugins.{name} (no table)"]
    registry = table.get("registry", {}) if name in ("cri", CRI, IMAGES) else {}
    return [
        f"plugins.{name}.registry.{key} (use {key} in certs.d/<host>/hosts.toml)"
        for key in ("mirrors", "configs", "auths")
        if registry.get(key)
    ]


def _upgraded(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """A version 1 document as version 2, with the CRI plugin's and the common settings."""
    upgraded = {key: value for key, value in found.items() if key not in ("plugins", "version")}
    upgraded["disabled_plugins"] = [
        name for name in found.get("disabled_plugins", []) if name != "cri"
    ]
    cri = found.get("plugins", {}).get("cri")
    if cri:
        upgraded["plugins"] = {CRI: cri}
    return upgraded


class Document:
    """A configuration under construction. Setters know where each version keeps its settings."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self._document: dict[str, Any] = copy.deepcopy(dict(found))
        self._split = self._document.get("version") == 3

    def rendered(self) -> dict[str, Any]:
        """The document with `version` and `disabled_plugins` in front."""
        head = {
            "version": 3 if self._split else 2,
            "disabled_plugins": self._document.get("disabled_plugins", []),
        }
        return head | {k: v for k, v in self._document.items() if k not in head}

    def enable_cri(self) -> None:
        disabled = self._document.get("disabled_plugins", [])
        self._document["disabled_plugins"] = [
            name for name in disabled if name not in ("cri", CRI, IMAGES, RUNTIME)
        ]

    def set_cri(self, name: str, value: Any) -> None:
        if not self._split:
            self._plugin(CRI)[name] = value
        elif name == "sandbox_image":
            self._table(IMAGES, "pinned_images")["sandbox"] = value
        elif name == "image_pull_progress_timeout":
            self._plugin(IMAGES)[name] = value
        else:
            self._plugin(RUNTIME)[name] = value

    def enable_selinux(self, enabled: bool) -> None:
        """On where Docker or the administrator has it on."""
        table = self._plugin(RUNTIME if self._split else CRI)
        table["enable_selinux"] = enabled or bool(table.get("enable_selinux"))

    def set_containerd(self, name: str, value: Any) -> None:
        self._containerd(name)[name] = value

    def set_default(self, name: str, value: Any) -> None:
        """Set a value of the `containerd` table unless the administrator has chosen one."""
        table = self._containerd(name)
        table[name] = table.get(name) or value

    def set_runtime(self, name: str, kind: str, binary: str, systemd: bool) -> None:
        runtime = self._runtimes().setdefault(name, {})
        runtime["runtime_type"] = runtime.get("runtime_type") or kind
        if kind in _RUNC_SHIMS:
            options = runtime.setdefault("options", {})
            if binary:
                options["BinaryName"] = options.get("BinaryName") or binary
            options["SystemdCgroup"] = systemd

    def follow_cgroups(self, systemd: bool) -> None:
        """Give every runc-based runtime, also the administrator's, one cgroup driver."""
        for runtime in self._runtimes().values():
            if runtime.get("runtime_type") in _RUNC_SHIMS:
                runtime.setdefault("options", {})["SystemdCgroup"] = systemd
        self._plugin(CRI).pop("systemd_cgroup", None) if not self._split else None

    def set_cni(self, values: Mapping[str, Any]) -> None:
        table = self._table(RUNTIME if self._split else CRI, "cni")
        table.pop("bin_dir", None)
        table.pop("bin_dirs", None)
        table.update(values)

    def set_registry(self, values: Mapping[str, Any]) -> None:
        table = self._table(IMAGES if self._split else CRI, "registry")
        for name in ("mirrors", "configs", "auths"):
            table.pop(name, None)  # empty, or `read` would have refused them
        table.update(values)

    def set_downloads(self, number: int, containerd: tuple[int, int]) -> None:
        """From 2.1 on the transfer service pulls; a CRI value other than 3 would bypass it."""
        if number == 3:
            return
        if containerd >= (2, 1):
            self._plugin(TRANSFER)["max_concurrent_downloads"] = number
        else:
            self._plugin(IMAGES if self._split else CRI)["max_concurrent_downloads"] = number

    def _containerd(self, name: str) -> dict[str, Any]:
        if self._split and name == "snapshotter":
            return self._plugin(IMAGES)
        return self._table(RUNTIME if self._split else CRI, "containerd")

    def _runtimes(self) -> dict[str, Any]:
        table: dict[str, Any] = self._containerd("runtimes").setdefault("runtimes", {})
        return table

    def _plugin(self, name: str) -> dict[str, Any]:
        table: dict[str, Any] = self._document.setdefault("plugins", {}).setdefault(name, {})
        return table

    def _table(self, plugin: str, name: str) -> dict[str, Any]:
        table: dict[str, Any] = self._plugin(plugin).setdefault(name, {})
        return table
