"""Listing a whole cluster: page by page, each object once, whatever happens between pages."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.cluster.api import Fault, Server, failure
from tests.cluster.objects import NODE, node, pod, pod_path
from unshim.cluster import Api, listing, paging
from unshim.errors import ClusterUnavailable

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "PAGE", 2)


def five_pods(server: Server) -> None:
    for number in range(5):
        server.put(pod_path(f"p{number}"), pod(f"p{number}"))


def names(listed: listing.Listed) -> list[str]:
    return [pod["metadata"]["name"] for pod in listed.snapshot.pods]


FIVE = ["p0", "p1", "p2", "p3", "p4"]


def test_every_page_is_followed(server: Server, api: Api) -> None:
    """Each object once; kinds that the server does not know are empty, not forbidden."""
    server.put(NODE, node())
    five_pods(server)
    listed = listing.everything(api, now=NOW)
    assert names(listed) == FIVE
    assert len(listed.snapshot.nodes) == 1
    assert listed.forbidden == ()
    assert listed.snapshot.whole_cluster
    assert server.count("GET", "/api/v1/pods") == 3


def test_an_expired_page_goes_on_where_it_was(server: Server, api: Api) -> None:
    """410 carries a fresh token for the rest of the list: nothing is lost or seen twice."""
    five_pods(server)
    expired = failure(410, "the continue parameter is too old", "Expired")
    expired["metadata"] = {"continue": "2"}
    server.faults.append(Fault("GET", "continue=2", 410, body=expired))
    assert names(listing.everything(api, now=NOW)) == FIVE
    assert server.count("GET", "continue=2") == 2


def test_an_expired_page_without_a_way_on_is_said(server: Server, api: Api) -> None:
    """A list that cannot be completed is an error, never a shorter list."""
    five_pods(server)
    server.faults.append(Fault("GET", "continue=2", 410))
    with pytest.raises(ClusterUnavailable, match="list /api/v1/pods: the API server answered 410"):
        listing.everything(api, now=NOW)


def test_metadata_behind_the_items_are_found(server: Server, api: Api) -> None:
    """The token is looked for early, but a server may write it last."""
    five_pods(server)
    page = {"items": [pod("p0"), pod("p1")], "metadata": {"continue": "2"}}
    server.faults.append(Fault("GET", "/api/v1/pods", 200, body=page))
    assert names(listing.everything(api, now=NOW)) == FIVE


def test_an_object_that_looks_like_a_token_is_none(server: Server, api: Api) -> None:
    """What stands inside an object never decides how a list goes on."""
    item = {**pod("p0"), "data": {"continue": "2"}}
    page = {"metadata": {}, "items": [item]}
    server.faults.append(Fault("GET", "/api/v1/pods", 200, body=page))
    assert names(listing.everything(api, now=NOW)) == ["p0"]
    assert server.count("GET", "/api/v1/pods") == 1


def test_a_forbidden_kind_is_named(server: Server, api: Api) -> None:
    """The rest is listed; what is absent then means nothing."""
    five_pods(server)
    server.faults.append(Fault("GET", "/api/v1/nodes", 403))
    listed = listing.everything(api, now=NOW)
    assert names(listed) == FIVE
    assert listed.forbidden == ("Node",)
    assert not listed.snapshot.whole_cluster


def test_nobody_reads_far_ahead(server: Server, api: Api) -> None:
    """Whoever stops in the middle of a list stops its reader too: memory holds two pages."""
    for number in range(20):
        server.put(pod_path(f"p{number:02d}"), pod(f"p{number:02d}"))
    pages = paging.pages(api, "/api/v1/pods", api.get("/api/v1/pods", limit=paging.PAGE))
    assert [pod["metadata"]["name"] for pod in next(pages)] == ["p00", "p01"]
    pages.close()
    assert server.count("GET", "/api/v1/pods") <= 3
