"""Reads a long list page by page, while the pages before are being worked on.

To parse a page takes about as long as the server needs for the next one, and nothing else in this
process runs while it is parsed. So a thread of its own asks for the next page at once, by a token
that it finds without parsing.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event, Semaphore

from unshim.cluster.api import Api, Reply, expect
from unshim.core.objects import Manifest

PAGE = 1000  # objects; an old etcd counts all that remain for every page, so not too few
AHEAD = 1  # pages that wait in memory
HEAD = 4096  # characters; the metadata of a list are shorter
_CONTINUE = re.compile(r'"continue": ?"([^"\\]+)"')


def pages(api: Api, path: str, first: Reply) -> Generator[Sequence[Manifest]]:
    """Each page's objects, beginning with the first page's.

    Raises ClusterUnavailable, Forbidden: a list that cannot be completed is an error.
    """
    arrived: SimpleQueue[Reply | None] = SimpleQueue()
    room, stop = Semaphore(AHEAD), Event()

    def read() -> None:
        try:
            for page in _replies(api, path, first):
                arrived.put(page)
                room.acquire()
                if stop.is_set():
                    return
        finally:
            arrived.put(None)

    with ThreadPoolExecutor(max_workers=1) as reader:
        reading = reader.submit(read)
        try:
            while (page := arrived.get()) is not None:
                yield page.body.get("items") or ()
                room.release()
        finally:
            stop.set()
            room.release()
        reading.result()


def _replies(api: Api, path: str, page: Reply) -> Iterator[Reply]:
    while True:
        yield expect(page, f"list {path}")
        token = _early_token(page) or _token(page)
        if not token:
            return
        page = _page(api, path, token)


def _early_token(page: Reply) -> str:
    """The next page's token, found without parsing the page.

    Empty when the list's metadata do not stand in front of the items.
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
