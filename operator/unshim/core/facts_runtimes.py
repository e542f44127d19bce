"""Docker and containerd as node/facts.sh saw them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

from unshim.core.facts import Containerd, Docker, DockerContainer, DockerImage
from unshim.core.facts_sections import Sections

Thing = TypeVar("Thing", DockerContainer, DockerImage)

_VERSION = re.compile(r"v?(\d+\.\d+(?:\.\d+)?[^\s~+,]*)")


def docker(found: Sections) -> Docker | None:
    """None when Docker does not run, or runs and does not answer (then `errors` says so)."""
    if not found.line("docker-info"):
        return None
    info = found.json("docker-info", found.text("docker-info"))
    if not isinstance(info, dict) or not info.get("ServerVersion"):
        found.errors.setdefault("docker-info", "dockerd runs but does not answer")
        return None
    environment = (line.partition("=") for line in found.lines("dockerd-environment"))
    return Docker(
        version=str(info["ServerVersion"]),
        info=info,
        argv=found.words("dockerd-argv"),
        environment={name: value for name, _, value in environment},
        containers=_rows(found, "docker-containers", _container),
        images=_rows(found, "docker-images", _image),
    )


def _container(row: Any) -> DockerContainer:
    uid, name, image, state, labels = row
    return DockerContainer(
        id=uid, name=name.removeprefix("/"), image=image, state=state, labels=labels or {}
    )


def _image(row: Any) -> DockerImage:
    uid, tags, digests, size = row
    return DockerImage(
        id=uid, repo_tags=tuple(tags or ()), repo_digests=tuple(digests or ()), size_bytes=int(size)
    )


def _rows(found: Sections, key: str, made: Callable[[Any], Thing]) -> tuple[Thing, ...]:
    """One thing for each line of JSON. A line that makes none is reported and left out."""
    things = []
    for line in found.lines(key):
        try:
            things.append(made(json.loads(line)))
        except (ValueError, TypeError, AttributeError):
            found.errors.setdefault(key, f"a line does not parse: {line[:80]}")
    return tuple(things)


def containerd(found: Sections) -> Containerd | None:
    version = _said(found, "containerd-running-version") or _said(found, "containerd-version")
    argv = found.words("containerd-argv")
    if not version and not argv:
        return None
    path = _option(argv, "--config", "-c") or "/etc/containerd/config.toml"
    config = found.texts.get(f"file:{path}")
    return Containerd(
        version=version,
        config_path=path,
        config_text=config,
        cri_loaded=_cri_loaded(found.lines("containerd-plugins")),
        k8s_containers=len(found.lines("containerd-containers")),
        root=_option(argv, "--root") or _root(config or "") or "/var/lib/containerd",
        images=found.lines("containerd-images"),
    )


def _said(found: Sections, key: str) -> str:
    """The version in `containerd github.com/containerd/containerd 1.6.20~ds1 …`."""
    return version_in(found.text(key).partition("containerd ")[2])


def _option(argv: tuple[str, ...], *names: str) -> str:
    """The last value of an option of containerd, which reads its command line itself."""
    value = ""
    for word, follower in zip(argv, (*argv, "")[1:], strict=True):
        name, equals, inline = word.partition("=")
        if name in names:
            value = inline if equals else follower
    return value


def _root(config: str) -> str:
    """The top-level `root` of a containerd config."""
    top = re.split(r"(?m)^\s*\[", config)[0]
    match = re.search(r"""(?m)^\s*root\s*=\s*["']([^"']+)["']""", top)
    return match[1] if match else ""


def _cri_loaded(lines: tuple[str, ...]) -> bool:
    """containerd 1.x and 2.x list the CRI service as io.containerd.grpc.v1 cri."""
    rows = (line.split() for line in lines)
    return any(r[:2] == ["io.containerd.grpc.v1", "cri"] and r[-1] == "ok" for r in rows)


def version_in(text: str) -> str:
    """The first version number, without the distribution's suffix: 1.6.20~ds1 is 1.6.20."""
    match = _VERSION.search(text)
    return match[1] if match else ""
