"""Reads the case files under data/: one node as found, one edit, and what must come of it.

A case is TOML. `promise` says what holds. `node` starts from `kubeadm.toml` unless `base = ""`;
`[files]` and `[kubelet]`, `[docker]`, `[containerd]`, `[units.<name>]` replace single values of it.
`[after]` holds the full text of every file that changes; `refuses` holds words of the refusal.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unshim.core.edits import kubelet_sources
from unshim.core.facts import (
    Containerd,
    Disk,
    Docker,
    DockerContainer,
    DockerImage,
    Kubelet,
    NodeFacts,
    Unit,
)

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case file."""

    name: str
    promise: str
    edit: str
    facts: NodeFacts
    after: Mapping[str, str] = field(default_factory=dict)
    refuses: tuple[str, ...] = ()


def load(edit: str) -> Iterator[Case]:
    """Every case of one edit, by file name."""
    for path in sorted((DATA / edit).glob("*.toml")):
        raw = tomllib.loads(path.read_text())
        yield Case(
            name=f"{edit}/{path.stem}",
            promise=raw["promise"],
            edit=edit,
            facts=facts(merged(base(), raw)),
            after=raw.get("after", {}),
            refuses=tuple(raw.get("refuses", ())),
        )


def base() -> dict[str, Any]:
    """A kubeadm 1.20 node on Docker 20.10 with containerd 1.6 beside it (Debian)."""
    return tomllib.loads((DATA / "kubeadm.toml").read_text())


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` put onto `under`; the value "(absent)" takes a key away."""
    result = dict(under)
    for key, value in over.items():
        if value == "(absent)":
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def facts(raw: Mapping[str, Any]) -> NodeFacts:
    """NodeFacts of a case's tables.

    A kubelet whose argv is "(composed)" runs with what its files say, as after a restart.
    """
    found = _facts(raw)
    if found.kubelet is None or found.kubelet.argv != ("(composed)",):
        return found
    words = [argument.text for argument in kubelet_sources.compose(found, found.files)]
    kubelet = dataclasses.replace(found.kubelet, argv=("/usr/bin/kubelet", *words))
    return dataclasses.replace(found, kubelet=kubelet)


def _facts(raw: Mapping[str, Any]) -> NodeFacts:
    return NodeFacts(
        hostname="w1",
        os_release={"ID": "debian"},
        kernel=raw.get("kernel", "5.10.0-28-amd64"),
        architecture="x86_64",
        boot_id="b",
        systemd_version=252,
        root=True,
        kubelet=_kubelet(raw["kubelet"]) if "kubelet" in raw else None,
        docker=_docker(raw["docker"]) if "docker" in raw else None,
        containerd=_containerd(raw) if "containerd" in raw else None,
        units={name: _unit(name, unit) for name, unit in raw.get("units", {}).items()},
        files=raw.get("files", {}),
        present=frozenset(raw.get("present", ())),
        disks=tuple(Disk(**disk) for disk in raw.get("disks", ())),
        sysctls=raw.get("sysctls", {}),
    )


def _kubelet(raw: Mapping[str, Any]) -> Kubelet:
    return Kubelet(
        version=raw["version"],
        argv=tuple(raw["argv"].split()),
        config_path=raw.get("config_path", ""),
        cgroup_driver=raw.get("cgroup_driver", "systemd"),
    )


def _docker(raw: Mapping[str, Any]) -> Docker:
    return Docker(
        version=raw["version"],
        info=raw.get("info", {}),
        argv=tuple(raw.get("argv", "").split()),
        environment=raw.get("environment", {}),
        containers=tuple(DockerContainer(**c) for c in raw.get("containers", ())),
        images=tuple(
            DockerImage(
                id=f"sha256:{number:064x}",
                repo_tags=tuple(image.get("tags", ())),
                repo_digests=tuple(image.get("digests", ())),
                size_bytes=image.get("size", 1),
            )
            for number, image in enumerate(raw.get("images", ()))
        ),
    )


def _containerd(raw: Mapping[str, Any]) -> Containerd:
    path = "/etc/containerd/config.toml"
    return Containerd(
        version=raw["containerd"]["version"],
        root=raw["containerd"].get("root", "/var/lib/containerd"),
        config_path=path,
        config_text=raw.get("files", {}).get(path),
    )


def _unit(name: str, raw: Mapping[str, Any]) -> Unit:
    return Unit(
        name=name,
        enabled="enabled",
        active="active",
        fragment=raw["fragment"],
        drop_ins=tuple(raw.get("drop_ins", ())),
        requires=tuple(raw.get("requires", ())),
        wants=tuple(raw.get("wants", ())),
    )
