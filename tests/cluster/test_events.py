"""Events never hold up a run."""

from __future__ import annotations

from tests.cluster.api import Fault, Server
from tests.cluster.objects import NODE, node
from unshim.cluster import KubernetesCluster


def test_told_once_and_counted(server: Server, cluster: KubernetesCluster) -> None:
    """The same event again counts up; another one is another object."""
    server.put(NODE, node())
    seen = cluster.node("worker-1")
    cluster.event(seen, "Cordoned", "said", warning=False)
    cluster.event(seen, "Cordoned", "said", warning=False)
    cluster.event(seen, "Failed", "said", warning=True)
    events = [body for path, body in server.objects.items() if "/events/" in path]
    assert sorted((e["reason"], e["count"], e["type"]) for e in events) == [
        ("Cordoned", 2, "Normal"),
        ("Failed", 1, "Warning"),
    ]
    assert events[0]["involvedObject"]["uid"] == "worker-1"  # kubectl describe looks for the name


def test_errors_are_swallowed(server: Server, cluster: KubernetesCluster) -> None:
    """No answer, or a refusal: the run goes on."""
    server.put(NODE, node())
    seen = cluster.node("worker-1")
    for status in (0, 403, 500):
        server.faults.append(Fault("POST", "events", status))
        cluster.event(seen, "Cordoned", f"said {status}", warning=False)
