"""Turns a case file into a Snapshot: JSON laid over an ordinary kubeadm node (`base.json`)."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from unshim.audit import Snapshot
from unshim.core.facts import NodeFacts
from unshim.core.objects import CRI_SOCKET_ANNOTATION, Eviction
from unshim.core.options import Options

HERE = Path(__file__).parent
NODE = "w1"
PEER = {
    "metadata": {"name": "w2", "uid": "0b6c3a52-0002", "annotations": {CRI_SOCKET_ANNOTATION: ""}},
    "status": {"nodeInfo": {"containerRuntimeVersion": "containerd://1.6.20"}},
}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def base() -> dict[str, Any]:
    """An ordinary worker: kubeadm 1.20, Docker 20.10 on dockershim, containerd 1.6, Debian."""
    found: dict[str, Any] = json.loads((HERE / "base.json").read_text())
    return found


def snapshot(raw: Mapping[str, Any]) -> Snapshot:
    """`node` and `facts` are laid over the base; every other key is a field of Snapshot.

    Beside the base node there is w2, a worker that runs containerd and takes pods. `nodes` replaces
    both altogether, `facts: null` means an audit without SSH.
    """
    ordinary = base()
    rest = {key: value for key, value in raw.items() if key not in ("node", "facts", "nodes")}
    node = merged(ordinary["node"], raw.get("node", {}))
    nodes = raw.get("nodes", [node, merged(ordinary["node"], PEER)])
    fields_: dict[str, Any] = {key: _field(key, value) for key, value in rest.items()}
    found = raw.get("facts", {})
    if found is not None and "nodes" not in raw:
        overlaid = merged(ordinary["facts"], found)
        fields_["facts"] = {node["metadata"]["name"]: decoded(NodeFacts, overlaid)}
    return Snapshot(now=NOW, nodes=tuple(nodes), **fields_)


def _field(key: str, value: Any) -> Any:
    match key:
        case "options":
            return decoded(Options, {"node": NODE, **value})
        case "evictions":
            return {pod: decoded(Eviction, answer) for pod, answer in value.items()}
    return tuple(value) if isinstance(value, list) else value


def merged(below: Any, above: Any) -> Any:
    """Objects are merged key by key; anything else replaces."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{key: merged(below.get(key), value) for key, value in above.items()}}
    return above


def decoded(kind: Any, raw: Any) -> Any:
    """JSON as the frozen dataclass it stands for; a null in a mapping removes its key."""
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        known = {field.name for field in fields(kind)}
        assert set(raw) <= known, f"{kind} has no {sorted(set(raw) - known)}"
        return kind(**{name: decoded(hints[name], value) for name, value in raw.items()})  # type: ignore[operator]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return None if raw is None else decoded(arguments[0], raw)
    if origin is tuple:
        return tuple(decoded(arguments[0], item) for item in raw)
    if origin in (frozenset, Sequence):
        return origin(raw)
    if origin is Mapping:
        items = {name: value for name, value in raw.items() if value is not None}
        return {name: decoded(arguments[1], value) for name, value in items.items()}
    return raw
