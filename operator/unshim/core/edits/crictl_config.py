"""/etc/crictl.yaml: crictl asks containerd. By itself an older one tries dockershim first."""

from __future__ import annotations

import re

from unshim.core import flags
from unshim.core.facts import NodeFacts
from unshim.core.options import Options
from unshim.core.steps import FileChange

PATH = "/etc/crictl.yaml"
BINARIES = ("/usr/bin/crictl", "/usr/local/bin/crictl", "/opt/bin/crictl")
_KEYS = ("runtime-endpoint", "image-endpoint")


def edit(facts: NodeFacts, _options: Options) -> tuple[FileChange, ...]:
    """Point crictl at containerd where crictl or its configuration is there."""
    before = facts.files.get(PATH)
    if before is None and not facts.present.intersection(BINARIES):
        return ()
    after = _pointed(before or "")
    return () if after == before else (FileChange(path=PATH, before=before, after=after),)


def _pointed(text: str) -> str:
    for key in _KEYS:
        line = re.compile(rf"(?m)^['\"]?{key}['\"]?[ \t]*:[ \t]*(?P<value>.*)$")
        match = line.search(text)
        if match is None:
            separator = "" if not text or text.endswith("\n") else "\n"
            text += f"{separator}{key}: {flags.CONTAINERD_ENDPOINT}\n"
        elif flags.socket_path(match["value"].strip("'\" \t\r")) != flags.CONTAINERD_SOCKET:
            text = (
                text[: match.start()] + f"{key}: {flags.CONTAINERD_ENDPOINT}" + text[match.end() :]
            )
    return text
