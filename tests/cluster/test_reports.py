"""The ConfigMap of a report: its name, its owner, and never over somebody else's."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cluster.api import Fault, Server, failure
from unshim.cluster import KubernetesCluster, reports
from unshim.errors import ClusterUnavailable, Forbidden, Refused

FOLDER = "/api/v1/namespaces/unshim-system/configmaps"
PLACE = f"{FOLDER}/unshim-report-worker-1"
TEXTS = {"report.json": "{}", "report.txt": "nothing"}
# RFC 1123, as the API server checks names of ConfigMaps and of NodeMigrations
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
NAMES = st.from_regex(SUBDOMAIN, fullmatch=True).filter(lambda name: len(name) <= 253)


def test_it_goes_with_its_migration(server: Server, cluster: KubernetesCluster) -> None:
    """The texts as they are, and one owner: the garbage collector does the rest."""
    assert cluster.keep_report("worker-1", "u-1", TEXTS) == "unshim-system/unshim-report-worker-1"
    kept = server.objects[PLACE]
    assert kept["data"] == TEXTS
    assert kept["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "unshim.dev/v1alpha1",
            "kind": "NodeMigration",
            "name": "worker-1",
            "uid": "u-1",
        }
    ]


def test_a_later_report_takes_its_place(server: Server, cluster: KubernetesCluster) -> None:
    """The same name again, by a new object: text and owner are the new one's."""
    cluster.keep_report("worker-1", "u-1", TEXTS)
    cluster.keep_report("worker-1", "u-2", {**TEXTS, "report.txt": "more"})
    kept = server.objects[PLACE]
    assert kept["data"]["report.txt"] == "more"
    assert [owner["uid"] for owner in kept["metadata"]["ownerReferences"]] == ["u-2"]


def test_what_is_not_ours_is_left(server: Server, cluster: KubernetesCluster) -> None:
    """A ConfigMap that happens to have this name stays as it is, and the message names it."""
    server.put(PLACE, {"metadata": {"name": "unshim-report-worker-1"}, "data": {"a": "b"}})
    with pytest.raises(Refused, match="unshim-system/unshim-report-worker-1"):
        cluster.keep_report("worker-1", "u-1", TEXTS)
    assert server.objects[PLACE]["data"] == {"a": "b"}


@pytest.mark.parametrize(("status", "error"), [(403, Forbidden), (500, ClusterUnavailable)])
def test_a_refused_write_is_told(
    server: Server, cluster: KubernetesCluster, status: int, error: type[Exception]
) -> None:
    """Forbidden, or a server in trouble: raised in our own words, for the status to tell."""
    server.faults.append(Fault("POST", "configmaps", status, failure(status, "no")))
    with pytest.raises(error, match="unshim-report-worker-1"):
        cluster.keep_report("worker-1", "u-1", TEXTS)


def test_an_answer_that_was_lost_is_no_foreign_object(
    server: Server, cluster: KubernetesCluster
) -> None:
    """Written, but the answer never came: the next try finds it and knows it as ours."""
    server.faults.append(Fault("POST", "configmaps", after=True))
    with pytest.raises(ClusterUnavailable):
        cluster.keep_report("worker-1", "u-1", TEXTS)
    assert cluster.keep_report("worker-1", "u-1", TEXTS).endswith("worker-1")


@given(NAMES)
def test_any_migration_has_a_report_name(name: str) -> None:
    """Whatever a NodeMigration may be called, the API server takes the ConfigMap's name."""
    made = reports.name_of(name)
    assert len(made) <= 253
    assert SUBDOMAIN.fullmatch(made)


def test_long_names_stay_apart() -> None:
    """Two names that differ only at their end do not share a report."""
    one, other = reports.name_of("a" * 252 + "b"), reports.name_of("a" * 252 + "c")
    assert one != other
    assert len(one) == len(other) == 253
