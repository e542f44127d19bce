"""Manifests and Helm renderings from files: what `unshim audit -f` reads."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from unshim.audit import manifests
from unshim.audit.snapshot import Snapshot
from unshim.errors import InvalidSpec


def snapshot(paths: Sequence[str]) -> Snapshot:
    """Raises InvalidSpec naming the file that is missing or is not YAML."""
    documents = [pair for path in paths for pair in _documents(path)]
    return manifests.snapshot(documents, now=datetime.now(UTC))


def _documents(path: str) -> Iterator[tuple[str, Any]]:
    if path == "-":
        yield from _parsed("stdin", sys.stdin.read())
        return
    place = Path(path)
    if not place.exists():
        raise InvalidSpec(f"-f {path}: no such file or folder. Nothing was audited.")
    files = [place] if place.is_file() else sorted(f for f in place.rglob("*") if _manifest(f))
    for file in files:
        yield from _parsed(str(file), file.read_text(encoding="utf-8"))


def _manifest(file: Path) -> bool:
    return file.is_file() and file.suffix in (".yaml", ".yml", ".json")


def _parsed(name: str, text: str) -> Iterator[tuple[str, Any]]:
    """Each document with its place, `file:line`."""
    try:
        for node in yaml.compose_all(text, Loader=yaml.SafeLoader):
            if node is None:
                continue
            loader = yaml.SafeLoader("")
            try:
                document = loader.construct_document(node)
            finally:
                loader.dispose()
            yield f"{name}:{node.start_mark.line + 1}", document
    except yaml.YAMLError as exc:
        raise InvalidSpec(f"-f {name}: not YAML: {exc}. Nothing was audited.") from exc
