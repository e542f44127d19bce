"""Kernel settings that dockerd made at each of its starts, kept across the next reboot.

Without them everything works until the node reboots: then nothing turns IP forwarding on or loads
br_netfilter, and pod traffic dies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from unshim.core.facts import NodeFacts
from unshim.core.options import Options
from unshim.core.steps import FileChange
from unshim.errors import UnsupportedNode

MODULES = "/etc/modules-load.d/unshim.conf"
SYSCTLS = "/etc/sysctl.d/99-unshim.conf"
_FORWARD = "net.ipv4.ip_forward"
_BRIDGE = ("net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables")
_KEPT = (_FORWARD, "net.ipv6.conf.all.forwarding", *_BRIDGE)
_SYSCTL_LINE = re.compile(r"(?m)^\s*-?\s*([\w./-]+)\s*=\s*(\S+)\s*$")


def edit(facts: NodeFacts, _options: Options) -> tuple[FileChange, ...]:
    """Persist what is on today and no file turns on. What is off stays off."""
    on = [key for key in _KEPT if _on(facts, key)]
    after_ours = _persisted(facts, after=SYSCTLS)
    for key in on:
        if after_ours.get(key, "1") != "1":
            raise UnsupportedNode(
                f"{facts.hostname}: a file after {SYSCTLS} sets {key} to {after_ours[key]}: pods "
                "would lose their network at the next reboot. Nothing was changed. Remove the line."
            )
    persisted = _persisted(facts)
    changes = [_sysctls([key for key in on if persisted.get(key) != "1"], facts)]
    if any(key in on for key in _BRIDGE):
        changes.append(_modules(facts))
    return tuple(change for change in changes if change is not None)


def _on(facts: NodeFacts, key: str) -> bool:
    """Forwarding is taken to be on where nothing is known: pods need it, and dockerd sets it."""
    return facts.sysctls.get(key, "1" if key == _FORWARD else "0").strip() == "1"


def _persisted(facts: NodeFacts, after: str = "") -> Mapping[str, str]:
    """What sysctl.d's files set, the last by name winning; only files sorting after `after`."""
    base = after.rpartition("/")[2]
    found: dict[str, str] = {}
    # Of two files with one name /etc's counts: it comes last.
    for path in sorted(facts.files, key=lambda p: (p.rpartition("/")[2], p.startswith("/etc/"))):
        folder, _, name = path.rpartition("/")
        if folder.endswith("/sysctl.d") and path != SYSCTLS and name > base:
            lines = _SYSCTL_LINE.findall(facts.files[path])
            found |= {key.replace("/", "."): value for key, value in lines}
    return found


def _sysctls(keys: list[str], facts: NodeFacts) -> FileChange | None:
    text = "# Written by unshim: dockerd set these at each start.\n"
    text += "".join(f"{key} = 1\n" for key in keys)
    return _change(facts, SYSCTLS, text) if keys else None


def _modules(facts: NodeFacts) -> FileChange | None:
    """br_netfilter, without which its sysctls do not exist. containerd's unit loads overlay."""
    loaded = {
        line.strip()
        for path, text in facts.files.items()
        if path.rpartition("/")[0].endswith("/modules-load.d") and path != MODULES
        for line in text.splitlines()
    }
    text = "# Written by unshim: dockerd loaded this at each start.\nbr_netfilter\n"
    return None if "br_netfilter" in loaded else _change(facts, MODULES, text)


def _change(facts: NodeFacts, path: str, text: str) -> FileChange | None:
    before = facts.files.get(path)
    return None if before == text else FileChange(path=path, before=before, after=text)
