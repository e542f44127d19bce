"""Lists a whole cluster for an audit, page by page; reads only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from unshim.audit.intake import PATHS, Intake
from unshim.audit.snapshot import Snapshot
from unshim.cluster.api import Api, Reply, expect
from unshim.core.objects import Manifest
from unshim.errors import Forbidden

PAGE = 1000  # objects; an old etcd counts all that remain for every page, so not too few
HEAD = 4096  # characters; the metadata of a list are shorter
_CONTINUE = re.compile(r'"continue": ?"([^"\\]+)"')


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
            first = api.get(path, limit=PAGE)
            if first.status == 404:
                continue
            version = path.removeprefix("/apis/").removeprefix("/api/").rpartition("/")[0]
            for items in pages(api, path, first):
                intake.add(kind, items, version)
        except Forbidden:
            return False
        return True
    return True


def pages(api: Api, path: str, page: Reply) -> Iterator[Sequence[Manifest]]:
    """Each page's objects. The server makes the next page while this one is read and worked on."""
    with ThreadPoolExecutor(max_workers=1) as ahead:
        while True:
            early = _early_token(expect(page, f"list {path}"))
            coming = ahead.submit(_page, api, path, early) if early else None
            token = _token(page)
            yield page.body.get("items") or ()
            if not token:
                return
            page = coming.result() if coming and token == early else _page(api, path, token)


def _early_token(page: Reply) -> str:
    """The next page's token before the page is parsed, which takes as long as the server does.

    A hint: it is empty when the list's metadata do not stand in front of the items.
    """
    head, items, _ = page.text[:HEAD].partition('"items"')
    found = _CONTINUE.search(head) if items else None
    return found[1] if found else ""


def _token(page: Reply) -> str:
    return str((page.body.get("metadata") or {}).get("continue") or "")


def _page(api: Api, path: str, token: str) -> Reply:
    """A page by its token.

    A token expires after some minutes. The server says so with a fresh one, which goes on at the
    same object and shows the rest of the list as it is now. That is exact enough for an audit,
    whose kinds are not listed at one instant either: what was there all the time is seen once.
    """
    query: dict[str, str | int] = {"limit": PAGE, "continue": token}
    reply = api.get(path, **query)
    if reply.status == 410 and (fresh := _token(reply)):
        return api.get(path, **{**query, "continue": fresh})
    return reply
