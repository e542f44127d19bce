"""The kubelet's unit and drop-ins: no dependency on Docker, and the flags that live in them.

`Requires=docker.service` stops the kubelet together with Docker, and brings Docker back with the
kubelet. systemd cannot take a dependency away in a drop-in, so the file itself is changed; a file
that belongs to a package is shadowed by a changed copy under /etc/systemd/system.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from unshim.core.edits import kubelet_flags, kubelet_sources, systemd_text
from unshim.core.facts import NodeFacts
from unshim.core.options import Options
from unshim.core.steps import FileChange
from unshim.errors import UnsupportedNode

_DOCKER_UNITS_TEXT = """
    docker.service docker.socket cri-docker.service cri-docker.socket cri-dockerd.service
    cri-dockerd.socket
"""
DOCKER_UNITS = frozenset(_DOCKER_UNITS_TEXT.split())
_CONTAINERD = "containerd.service"
_PULLS_IN = frozenset({"Requires", "Requisite", "BindsTo", "Wants", "PartOf", "Upholds"})
_ORDERS = frozenset({"After", "Before"})


def edit(facts: NodeFacts, _options: Options) -> tuple[FileChange, ...]:
    """Every unit file of the kubelet that names Docker or holds a flag to change."""
    paths = kubelet_sources.unit_files(facts)
    flagged = kubelet_flags.texts(facts)
    changes = []
    for path in paths:
        before = facts.files.get(path, "")
        _refuse_commands(facts, path, before)
        after = without_docker(flagged.get(path, before))
        if after != before:
            changes.append(_change(facts, path, after))
    _refuse_links(facts, paths)
    return tuple(changes)


def _change(facts: NodeFacts, path: str, after: str) -> FileChange:
    shadow = re.sub(r"^(?:/usr)?/lib/systemd/system/", "/etc/systemd/system/", path)
    return FileChange(path=shadow, before=facts.files.get(shadow), after=after)


def without_docker(text: str) -> str:
    """A unit file's text with containerd in the place of Docker among its dependencies."""
    pieces, position, wants = [], 0, True
    for setting in systemd_text.settings(text):
        words = setting.text.split()
        if setting.section != "Unit" or not DOCKER_UNITS & set(words):
            continue
        pieces.append(text[position : setting.start])
        position = setting.end
        if setting.key in _PULLS_IN:
            pieces.append(_pulled_in(setting.key, words, wants))
            wants = False
        elif setting.key in _ORDERS:
            pieces.append(_ordered(setting.key, words))
        else:
            pieces.append(text[setting.start : setting.end])
    return "".join([*pieces, text[position:]])


def _pulled_in(key: str, words: Sequence[str], wants: bool) -> str:
    """Wants= only: an explicit stop of containerd should not stop the kubelet."""
    kept = [word for word in words if word not in DOCKER_UNITS]
    line = f"{key}={' '.join(kept)}\n" if kept else ""
    return line + (f"Wants={_CONTAINERD}\n" if wants else "")


def _ordered(key: str, words: Sequence[str]) -> str:
    new = (_CONTAINERD if word in DOCKER_UNITS else word for word in words)
    return f"{key}={' '.join(dict.fromkeys(new))}\n"


def _refuse_commands(facts: NodeFacts, path: str, text: str) -> None:
    for setting in systemd_text.settings(text):
        if setting.key.startswith("Exec") and setting.key != "ExecStart":
            words = [word.text for word in systemd_text.words(setting.value)]
            if any(re.fullmatch(r"[-@:+!]*(?:/\S*/)?docker", word) for word in words):
                raise UnsupportedNode(
                    f"{facts.hostname}: {path}: {setting.key}= of the kubelet calls docker, so the "
                    "kubelet would not start without it. Nothing was changed. Remove the call."
                )


def _refuse_links(facts: NodeFacts, paths: Sequence[str]) -> None:
    """Dependencies made by links (kubelet.service.requires/) stand in no file to edit."""
    unit = kubelet_sources.unit(facts, "kubelet")
    if unit is None:
        return
    texts = [setting for path in paths for setting in systemd_text.settings(facts.files[path])]
    written = {
        word for s in texts if s.key in _PULLS_IN and s.section == "Unit" for word in s.text.split()
    }
    for name in sorted(DOCKER_UNITS & {*unit.requires, *unit.binds_to, *unit.wants} - written):
        raise UnsupportedNode(
            f"{facts.hostname}: kubelet.service depends on {name}, but none of "
            f"{', '.join(paths)} says so. Nothing was changed. Remove the link under "
            "/etc/systemd/system/kubelet.service.{requires,wants} and run systemctl daemon-reload."
        )
