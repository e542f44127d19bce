"""A fleet in a real API server: read page by page, and audited to exactly what was planted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.bench import fleet as bench
from tests.bench.filling import fill
from tests.bench.server import ApiServer, Etcd, serving
from tests.bench.synthetic import Fleet, all_shapes
from unshim.audit import audit
from unshim.cluster import Api, connect, listing, paging

pytestmark = pytest.mark.lab
FLEET = Fleet(200)
PODS = "/api/v1/pods"


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with serving() as running:
        fill(running, FLEET)
        yield running


@pytest.fixture
def api(server: ApiServer) -> Api:
    return connect(kubeconfig=str(server.kubeconfig))


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(paging, "PAGE", 100)
    return 100


def test_small_pages_lead_to_every_finding(api: Api, small_pages: int) -> None:
    """Every page is followed, and the findings are those planted, each once."""
    listed = listing.everything(api, now=datetime.now(UTC))
    assert len(listed.snapshot.pods) == FLEET.pods
    assert api.stats["GET pods"] == FLEET.pods / small_pages
    assert Counter(f.rule for f in audit(listed.snapshot)) == FLEET.planted()


def test_a_list_outlives_its_page_tokens(server: ApiServer, api: Api, small_pages: int) -> None:
    """etcd forgets the list's revision in the middle: the rest follows, and no pod comes twice."""
    etcd = Etcd(server.etcd_port)
    seen: Counter[str] = Counter()
    first = api.get(PODS, limit=small_pages)
    for number, page in enumerate(paging.pages(api, PODS, first)):
        seen.update(pod["metadata"]["uid"] for pod in page)
        if number == 2:
            etcd.compact()
    etcd.close()
    assert len(seen) == FLEET.pods
    assert set(seen.values()) == {1}
    assert api.stats["GET pods"] == FLEET.pods / small_pages + 1  # one page was asked for twice


def test_the_command_says_the_same(server: ApiServer) -> None:
    """`unshim audit --no-ssh`, as the bench runs it."""
    cost, found = bench.audit(server)
    assert found == FLEET.planted()
    assert cost.code == 1  # docker.sock is a blocker
    assert 20 < cost.rss < 500


@pytest.mark.parametrize(
    ("shape", "path"),
    [
        ("node", "/api/v1/nodes"),
        ("plain owner", "/apis/apps/v1/deployments"),
        ("tight budget", "/apis/policy/v1beta1/poddisruptionbudgets"),
        ("parser", "/api/v1/configmaps"),
    ],
)
def test_objects_are_served_as_they_were_meant(server: ApiServer, shape: str, path: str) -> None:
    """Every copy of a shape reads back as the shape, with its tokens replaced."""
    wanted = all_shapes()[shape]
    text = json.dumps({key: wanted[key] for key in _PARTS if key in wanted})
    items = json.loads(server.get(path))["items"]
    found = {item["metadata"]["name"]: item for item in items}
    for copy in (copy for copy in FLEET.copies() if copy.shape == shape):
        meant = text
        for token, value in copy.tokens.items():
            meant = meant.replace(token, value)
        assert _within(json.loads(meant), found[copy.key.rpartition("/")[2]]), copy.key


_PARTS = ("metadata", "spec", "status", "data")


def _within(small: Any, large: Any) -> bool:
    """Everything of `small` is in `large`, which may have defaults besides."""
    if isinstance(small, dict) and isinstance(large, dict):
        return all(_within(value, large.get(key)) for key, value in small.items())
    if isinstance(small, list) and isinstance(large, list):
        return len(small) == len(large) and all(map(_within, small, large))
    return bool(small == large or (small in ("", None, {}, []) and not large))
