"""Images as files: layers from folders, and archives as `docker save` writes them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.lab.shells import run


def layer(folder: Path, target: Path) -> None:
    """Write everything below `folder`, but for device nodes, which a runtime makes itself."""
    argv = ["tar", "--numeric-owner", "--sort=name", "--exclude=./dev/*", "-C", str(folder)]
    run([*argv, "-cf", str(target), "."])


def archive(target: Path, tag: str, config: Mapping[str, Any], layers: Sequence[Path]) -> None:
    """Write an image of these layers, the lowest first."""
    digests = [_sha256(path) for path in layers]
    image = {
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        "history": [{"created": "2026-01-01T00:00:00Z"} for _ in digests],
        "created": "2026-01-01T00:00:00Z",
    }
    raw = json.dumps(image).encode()
    name = f"{hashlib.sha256(raw).hexdigest()}.json"
    places = [f"{digest}/layer.tar" for digest in digests]
    manifest = [{"Config": name, "RepoTags": [tag], "Layers": places}]
    with tarfile.open(target, "w") as tar:
        _add(tar, name, raw)
        for path, place in zip(layers, places, strict=True):
            tar.add(path, place)
        _add(tar, "manifest.json", json.dumps(manifest).encode())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
