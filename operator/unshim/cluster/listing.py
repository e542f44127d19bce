"""Lists a whole cluster for an audit, page by page; reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from unshim.audit.intake import PATHS, Intake
from unshim.audit.snapshot import Snapshot
from unshim.cluster import paging
from unshim.cluster.api import Api, Reply
from unshim.errors import Forbidden


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The cluster, and the kinds that we may not or need not list."""

    snapshot: Snapshot
    forbidden: tuple[str, ...] = ()


def everything(api: Api, *, now: datetime, **more: Any) -> Listed:
    """Every kind the rules look at, where this API server has it. `more` goes into the Snapshot."""
    intake = Intake()
    forbidden = [kind for kind in PATHS if not _listed(api, intake, kind)]
    snapshot = intake.snapshot(now=now, whole_cluster=not forbidden, **more)
    return Listed(snapshot=snapshot, forbidden=tuple(forbidden))


def _listed(api: Api, intake: Intake, kind: str) -> bool:
    """False when we may not list this kind; a kind that the server does not know is empty."""
    try:
        path, first = _found(api, kind, paging.PAGE)
        if first is not None:
            for items in paging.pages(api, path, first):
                intake.add(kind, items, version_of(path))
    except Forbidden:
        return False
    return True


def served(api: Api, kind: str) -> str:
    """The collection's path on this server; empty when it lacks the kind. Raises Forbidden."""
    return _found(api, kind, 1)[0]


def _found(api: Api, kind: str, limit: int) -> tuple[str, Reply | None]:
    """The path, and its list's first page."""
    for path in PATHS[kind]:
        reply = api.get(path, limit=limit)
        if reply.status != 404:
            return path, reply
    return "", None


def version_of(path: str) -> str:
    """`/apis/apps/v1/deployments` -> `apps/v1`: items of a list do not say so."""
    return path.removeprefix("/apis/").removeprefix("/api/").rpartition("/")[0]
