"""Where the lab keeps things: a cache of heavy builds, and one folder for each running lab."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("UNSHIM_CACHE", "/var/cache/unshim"))
RUNS = Path(os.environ.get("UNSHIM_LAB_DIR", "/var/lib/unshim-lab"))


def key(*parts: str | bytes | Path) -> str:
    """A short hash of texts and of files' contents."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part
        digest.update(data.encode() if isinstance(data, str) else data)
        digest.update(b"\0")
    return digest.hexdigest()[:12]


def cached(kind: str, name: str) -> Path:
    return CACHE / f"{kind}-{name}"
