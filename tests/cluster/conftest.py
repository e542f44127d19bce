"""One stateful API server and the adapter that speaks to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.api import Server, client, serving
from unshim.cluster import Api, KubernetesCluster


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    with serving(server) as address:
        yield address


@pytest.fixture
def api(url: str) -> Api:
    return client(url)


@pytest.fixture
def cluster(api: Api) -> KubernetesCluster:
    return KubernetesCluster(api, lease_namespace="kube-system", canary_namespace="unshim-system")
