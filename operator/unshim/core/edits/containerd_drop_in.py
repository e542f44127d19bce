"""A drop-in of containerd.service: the proxies and limits that Docker's containers had."""

from __future__ import annotations

from collections.abc import Mapping

from unshim.core.edits import docker_settings, kubelet_sources, systemd_text
from unshim.core.facts import NodeFacts
from unshim.core.options import Options
from unshim.core.steps import FileChange

PATH = "/etc/systemd/system/containerd.service.d/50-unshim.conf"


def edit(facts: NodeFacts, _options: Options) -> tuple[FileChange, ...]:
    """The drop-in, when Docker has proxies or limits that containerd has not.

    What containerd's own unit or drop-ins set already is left to them.
    """
    docker = docker_settings.translate(facts)
    limits = {**_own_limit(facts), **docker.limits}
    set_already = _containerd_environment(facts)
    missing = {k: v for k, v in docker.proxies.items() if not {k, k.lower()} & set_already.keys()}
    own = _service_settings(facts, "containerd")
    lines = [f'Environment="{name}={_quoted(value)}"' for name, value in missing.items()]
    lines += [f"{name}={value}" for name, value in limits.items() if own.get(name) != value]
    if not lines:
        return ()
    text = "\n".join(["# Written by unshim: Docker had these.", "[Service]", *lines]) + "\n"
    before = facts.files.get(PATH)
    mode = 0o600 if any("@" in value for value in missing.values()) else 0o644
    return () if before == text else (FileChange(path=PATH, before=before, after=text, mode=mode),)


def proxies(facts: NodeFacts) -> Mapping[str, str]:
    """The proxies that containerd will have, by upper-case name: its own first, then Docker's."""
    own = _containerd_environment(facts)
    docker = docker_settings.translate(facts).proxies
    found = {
        name: own.get(name) or own.get(name.lower()) or docker.get(name, "")
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    }
    return {name: value for name, value in found.items() if value}


def _own_limit(facts: NodeFacts) -> Mapping[str, str]:
    """dockerd's LimitNOFILE, if its containers have it: they do when it runs its own containerd.

    A dockerd started with --containerd= leaves containers to the system's containerd, whose limit
    stays what it is.
    """
    argv = facts.docker.argv if facts.docker else ()
    shared = any(word.partition("=")[0] == "--containerd" for word in argv)
    if shared and facts.containerd is not None:
        return {}
    limit = _service_settings(facts, "docker").get("LimitNOFILE")
    return {"LimitNOFILE": limit} if limit else {}


def _service_settings(facts: NodeFacts, name: str) -> Mapping[str, str]:
    """Single-value settings of a unit's [Service] section, drop-ins winning, ours left out."""
    unit = kubelet_sources.unit(facts, name)
    paths = (unit.fragment, *unit.drop_ins) if unit else ()
    return {
        setting.key: setting.text
        for path in paths
        if path != PATH
        for setting in systemd_text.settings(facts.files.get(path, ""))
        if setting.section == "Service"
    }


def _containerd_environment(facts: NodeFacts) -> dict[str, str]:
    unit = kubelet_sources.unit(facts, "containerd")
    paths = (unit.fragment, *unit.drop_ins) if unit else ()
    pairs = (
        word.text.partition("=")
        for path in paths
        if path != PATH
        for setting in systemd_text.settings(facts.files.get(path, ""))
        if setting.key == "Environment"
        for word in systemd_text.words(setting.value, c_escapes=True)
    )
    return {name: value for name, _, value in pairs}


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
