"""The kubelet's configuration file, where it names the runtime's endpoint (kubelet 1.27 and later).

The YAML is changed line by line and read for top-level scalars only: the core carries no YAML
library, and comments, order and quoting stay. A file that starts with `{` is JSON.
"""

from __future__ import annotations

import json
import re

from unshim.core import flags
from unshim.core.edits import kubelet_sources
from unshim.core.facts import NodeFacts
from unshim.core.options import Options
from unshim.core.steps import FileChange
from unshim.errors import UnsupportedNode

#: kubeadm 1.32 and later keep the node's own endpoint here and merge it into config.yaml.
INSTANCE_CONFIG = "/var/lib/kubelet/instance-config.yaml"
_ENDPOINT_KEYS = ("containerRuntimeEndpoint", "imageServiceEndpoint")


def edit(facts: NodeFacts, _options: Options) -> tuple[FileChange, ...]:
    """Point the endpoint fields that are there at containerd; add none."""
    if flags.minor(kubelet_sources.running(facts).version) < (1, 27):
        return ()  # the field is ignored before 1.27
    found = []
    for path, text in _files(facts).items():
        after = _with_endpoint(facts, path, text)
        if after != text:
            found.append(FileChange(path=path, before=text, after=after))
    return tuple(found)


def endpoint(facts: NodeFacts) -> str:
    """The runtime endpoint that the configuration file names, or an empty string."""
    return value(facts, "containerRuntimeEndpoint")


def value(facts: NodeFacts, key: str) -> str:
    """A top-level scalar of the kubelet's configuration file, or an empty string."""
    kubelet = kubelet_sources.running(facts)
    text = facts.files.get(kubelet.config_path, kubelet.config_text)
    if text.lstrip().startswith("{"):
        return str(_json(facts, kubelet.config_path, text).get(key, ""))
    match = _line(key).search(text)
    return match["value"] if match else ""


def _files(facts: NodeFacts) -> dict[str, str]:
    kubelet = kubelet_sources.running(facts)
    paths = dict.fromkeys(p for p in (kubelet.config_path, INSTANCE_CONFIG) if p)
    return {path: facts.files[path] for path in paths if path in facts.files}


def _with_endpoint(facts: NodeFacts, path: str, text: str) -> str:
    if text.lstrip().startswith("{"):
        return _json_with_endpoint(facts, path, text)
    for key in _ENDPOINT_KEYS:
        match = _line(key).search(text)
        if match is not None and _foreign(match["value"]):
            text = (
                text[: match.start("value")]
                + flags.CONTAINERD_ENDPOINT
                + text[match.end("value") :]
            )
        elif match is None and _unreadable(key).search(text):
            raise UnsupportedNode(
                f"{facts.hostname}: {path}: the value of {key} is not a plain string on one line. "
                "Nothing was changed. Write it as a plain string and try again."
            )
    return text


def _line(key: str) -> re.Pattern[str]:
    quote = r"(?P<quote>['\"]?)"
    scalar = r"(?P<value>[^'\"\s#{\[|>&*!][^'\"\s#]*)"
    return re.compile(rf"(?m)^{key}\s*:[ \t]+{quote}{scalar}(?P=quote)[ \t]*(?:#.*)?$")


def _unreadable(key: str) -> re.Pattern[str]:
    """A line that sets the key to something other than nothing (kubeadm writes `key: ""`)."""
    nothing = r"(?:''|\"\"|null|~)?[ \t]*(?:#.*)?$"
    return re.compile(rf"(?m)^['\"]?{key}['\"]?[ \t]*:(?![ \t]*{nothing})")


def _foreign(endpoint: str) -> bool:
    return flags.socket_path(endpoint) != flags.CONTAINERD_SOCKET


def _json(facts: NodeFacts, path: str, text: str) -> dict[str, object]:
    try:
        parsed = json.loads(text)
    except ValueError as exc:
        raise UnsupportedNode(
            f"{facts.hostname}: {path} does not parse as JSON: {exc}. Nothing was changed."
        ) from exc
    return parsed if isinstance(parsed, dict) else {}


def _json_with_endpoint(facts: NodeFacts, path: str, text: str) -> str:
    """Replace the value where it stands: the field's text is unique when its key is."""
    parsed = _json(facts, path, text)
    for key in _ENDPOINT_KEYS:
        old = parsed.get(key)
        if not isinstance(old, str) or not old or not _foreign(old):
            continue
        pattern = re.compile(rf'("{key}"\s*:\s*)"[^"\\]*"')
        text, count = pattern.subn(rf'\g<1>"{flags.CONTAINERD_ENDPOINT}"', text)
        if count != 1 or json.loads(text) != {**parsed, key: flags.CONTAINERD_ENDPOINT}:
            raise UnsupportedNode(
                f"{facts.hostname}: {path}: {key} cannot be changed in place. Nothing was changed."
            )
        parsed[key] = flags.CONTAINERD_ENDPOINT
    return text
