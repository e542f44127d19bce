"""Docker and containerd as node/facts.sh saw them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from unshim.core.facts import Containerd, Docker, DockerContainer, DockerImage
from unshim.core.facts_sections import Sections

_VERSION = re.compile(r"v?(\d+\.\d+(?:\.\d+)?[^\s~+,]*)")


def docker(found: Sections) -> Docker | None:
    if "docker-info" not in found.texts:
        return None
    info = found.json("docker-info", found.text("docker-info"))
    info = info if isinstance(info, dict) else {}
    environment = (line.partition("=") for line in found.lines("dockerd-environment"))
    return Docker(
        version=str(info.get("ServerVersion", "")),
        info=info,
        argv=found.words("dockerd-argv"),
        environment={name: value for name, _, value in environment},
        containers=tuple(_container(row) for row in _rows(found, "docker-containers", 5)),
        images=tuple(_image(row) for row in _rows(found, "docker-images", 4)),
    )


def _container(row: list[Any]) -> DockerContainer:
    return DockerContainer(
        id=str(row[0]),
        name=str(row[1]).removeprefix("/"),
        image=str(row[2]),
        state=str(row[3]),
        labels=row[4] or {},
    )


def _image(row: list[Any]) -> DockerImage:
    tags, digests = row[1] or [], row[2] or []
    return DockerImage(
        id=str(row[0]), repo_tags=tuple(tags), repo_digests=tuple(digests), size_bytes=int(row[3])
    )


def _rows(found: Sections, key: str, width: int) -> Iterable[list[Any]]:
    for line in found.lines(key):
        row = found.json(key, line)
        if isinstance(row, list) and len(row) == width:
            yield row


def containerd(found: Sections) -> Containerd | None:
    version = version_in(
        found.text("containerd-server-version").partition("Server:")[2]
    ) or version_in(found.text("containerd-version").partition("containerd ")[2])
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


def _option(argv: tuple[str, ...], *names: str) -> str:
    """The last value of an option of containerd, which reads its command line itself."""
    value = ""
    for word, follower in zip(argv, (*argv[1:], ""), strict=True):
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
