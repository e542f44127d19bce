"""Requests: retries, error words, paging, counting."""

from __future__ import annotations

import time

import pytest

from tests.cluster.api import Fault, Server, client
from tests.cluster.objects import NODE, node, pod, pod_path
from unshim.cluster import Api, connect
from unshim.cluster import api as api_module
from unshim.errors import ClusterUnavailable, Forbidden, Refused


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 401])
def test_reads_survive_passing_errors(server: Server, api: Api, status: int) -> None:
    """A read is asked again on every error that passes, and then answered."""
    server.put(NODE, node())
    server.faults += [Fault("GET", NODE, status)] * 2
    assert api.get(NODE).ok
    assert server.count("GET", NODE) == 3


def test_reads_survive_lost_connections(server: Server, api: Api) -> None:
    """A connection that closes without an answer is a passing error too."""
    server.put(NODE, node())
    server.faults += [Fault("GET", NODE), Fault("GET", NODE)]
    assert api.get(NODE).ok


def test_retries_end(server: Server, api: Api) -> None:
    """After the last try the error says which server, what was asked, and that we go on later."""
    server.faults += [Fault("GET", NODE, 503)] * 9
    with pytest.raises(ClusterUnavailable, match=r"answered 503 to GET .*worker-1.*next tick"):
        api.get(NODE)
    assert server.count("GET", NODE) == 4


def test_writes_that_create_are_sent_once(server: Server, api: Api) -> None:
    """A POST is never repeated: its effect may have happened although the answer was lost."""
    server.faults.append(Fault("POST", "pods", after=True))
    with pytest.raises(ClusterUnavailable):
        api.post("/api/v1/namespaces/shop/pods", pod("a"))
    assert server.count("POST", "pods") == 1
    assert pod_path("a") in server.objects


def test_forbidden_is_told_apart_and_retried_by_the_engine(server: Server, api: Api) -> None:
    """403 names the ClusterRole, and is retryable: a starting server says it as well."""
    server.faults.append(Fault("GET", NODE, 403))
    with pytest.raises(Forbidden, match="ClusterRole"):
        api.get(NODE)
    assert issubclass(Forbidden, ClusterUnavailable)
    assert server.count("GET", NODE) == 1


def test_retry_after_is_honoured(server: Server, url: str) -> None:
    """A rate-limited read waits as long as the server asks, within reason."""
    server.put(NODE, node())
    server.faults.append(Fault("GET", NODE, 429, headers={"retry-after": "1"}))
    began = time.monotonic()
    assert client(url).get(NODE).ok
    assert time.monotonic() - began >= 1.0


def test_a_silent_server_is_given_up(
    server: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No request waits for ever: the read limit ends it."""
    monkeypatch.setattr(api_module, "READ_SECONDS", 0.2)
    server.faults.append(Fault("GET", NODE, 200, delay=3))
    began = time.monotonic()
    with pytest.raises(ClusterUnavailable, match="did not answer"):
        client(url, attempts=1).get(NODE)
    assert time.monotonic() - began < 2


def test_nobody_there_is_an_error_for_people() -> None:
    """A refused connection becomes ClusterUnavailable, naming the address."""
    with pytest.raises(ClusterUnavailable, match=r"127\.0\.0\.1:1 did not answer"):
        client("http://127.0.0.1:1", attempts=2).get("/version")


def test_lists_are_read_page_by_page(
    server: Server, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every object is seen although the server hands them out in pages."""
    monkeypatch.setattr(api_module, "PAGE", 2)
    for index in range(5):
        server.put(pod_path(f"p{index}"), pod(f"p{index}"))
    names = [p["metadata"]["name"] for p in api.items("/api/v1/pods")]
    assert names == ["p0", "p1", "p2", "p3", "p4"]
    assert server.count("GET", "/pods") == 3


def test_requests_are_counted_by_verb_and_resource(server: Server, api: Api) -> None:
    """`stats` is what a bench reports: requests by verb and resource, repeats too."""
    server.put(NODE, node())
    server.faults.append(Fault("GET", NODE, 503))
    api.get(NODE)
    api.get("/api/v1/namespaces/shop/pods/a/log")
    api.post("/apis/coordination.k8s.io/v1/namespaces/x/leases", {"metadata": {"name": "l"}})
    assert api.stats == {"GET nodes": 2, "GET pods/log": 1, "POST leases": 1}


def test_no_configuration_is_refused_with_what_to_do(tmp_path: object) -> None:
    """Without a usable kubeconfig the message says what to set."""
    with pytest.raises(Refused, match="KUBECONFIG"):
        connect(kubeconfig=f"{tmp_path}/none")
