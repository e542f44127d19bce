"""Lists a whole cluster for an audit, page by page; reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from unshim.audit.intake import PATHS, Intake
from unshim.audit.snapshot import Snapshot
from unshim.cluster import paging
from unshim.cluster.api import Api
from unshim.errors import Forbidden


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The cluster, and the kinds that we may not or need not list."""

    snapshot: Snapshot
    forbidden: tuple[str, ...] = ()


def everything(api: Api, *, now: datetime, **more: Any) -> Listed:
    """Every kind the rules look at, where this API server has it. `more` goes into the Snapshot."""
    intake = Intake()
    forbidden = [kind for kind, paths in PATHS.items() if not _listed(api, intake, kind, paths)]
    snapshot = intake.snapshot(now=now, whole_cluster=not forbidden, **more)
    return Listed(snapshot=snapshot, forbidden=tuple(forbidden))


def _listed(api: Api, intake: Intake, kind: str, paths: Sequence[str]) -> bool:
    """False when we may not list this kind; a kind that the server does not know is empty."""
    for path in paths:
        try:
            first = api.get(path, limit=paging.PAGE)
            if first.status == 404:
                continue
            version = path.removeprefix("/apis/").removeprefix("/api/").rpartition("/")[0]
            for items in paging.pages(api, path, first):
                intake.add(kind, items, version)
        except Forbidden:
            return False
        return True
    return True
