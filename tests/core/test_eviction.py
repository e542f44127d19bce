"""Which pods leave: kubectl drain's filters, in its order, over plain pods."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from unshim.core import eviction, selectors
from unshim.core.eviction import Verdict
from unshim.core.options import DrainOptions
from unshim.errors import InvalidSpec

OWNED = [{"kind": "ReplicaSet", "name": "web-1", "controller": True}]
DAEMON = [{"kind": "DaemonSet", "name": "proxy", "controller": True}]
RUNNING = {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}
ENDED = {"phase": "Running", "containerStatuses": [{"state": {"terminated": {"exitCode": 0}}}]}
MIRROR = {"kubernetes.io/config.mirror": "hash"}
EMPTY_DIR = {"volumes": [{"name": "cache", "emptyDir": {}}]}


def pod(
    owners: list[dict[str, Any]] | None = None,
    status: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "shop",
            "name": "web",
            "uid": "u",
            "ownerReferences": OWNED if owners is None else owners,
            **metadata,
        },
        "spec": spec or {},
        "status": status or RUNNING,
    }


PLAIN = DrainOptions()
FORCE = DrainOptions(force=True)
EMPTY = DrainOptions(delete_empty_dir_data=True)
STRICT = DrainOptions(ignore_daemon_sets=False)
SELECT = DrainOptions(pod_selector="app=web")
ORPHAN = frozenset({"shop/proxy"})
LEAVING: dict[str, Any] = {"deletionTimestamp": "2026-01-01T00:00:00Z"}

CASES = {
    "managed": (pod(), PLAIN, Verdict.EVICT, ""),
    "finished": (pod([], {"phase": "Succeeded"}), PLAIN, Verdict.KEEP, ""),
    "failed daemon": (pod(DAEMON, {"phase": "Failed"}), STRICT, Verdict.KEEP, ""),
    "daemon": (pod(DAEMON), PLAIN, Verdict.KEEP, ""),
    "daemon, not ignored": (pod(DAEMON), STRICT, Verdict.REFUSE, "drain.ignoreDaemonSets"),
    "daemon, forced": (pod(DAEMON), FORCE, Verdict.KEEP, ""),
    "daemon with emptyDir": (pod(DAEMON, spec=EMPTY_DIR), PLAIN, Verdict.KEEP, ""),
    "mirror": (pod([], annotations=MIRROR), PLAIN, Verdict.KEEP, ""),
    "mirror with emptyDir": (pod([], annotations=MIRROR, spec=EMPTY_DIR), PLAIN, Verdict.KEEP, ""),
    "emptyDir": (pod(spec=EMPTY_DIR), PLAIN, Verdict.REFUSE, "drain.deleteEmptyDirData"),
    "emptyDir allowed": (pod(spec=EMPTY_DIR), EMPTY, Verdict.EVICT, ""),
    "emptyDir finished": (pod(status={"phase": "Failed"}, spec=EMPTY_DIR), PLAIN, Verdict.KEEP, ""),
    "emptyDir and unmanaged": (
        pod([], spec=EMPTY_DIR), PLAIN, Verdict.REFUSE, "drain.deleteEmptyDirData",
    ),
    "unmanaged": (pod([]), PLAIN, Verdict.REFUSE, "drain.force"),
    "owner that is no controller": (
        pod([{"kind": "ReplicaSet", "name": "x"}]), PLAIN, Verdict.REFUSE, "drain.force",
    ),
    "unmanaged, forced": (pod([]), FORCE, Verdict.EVICT, ""),
    "terminating": (pod(**LEAVING), PLAIN, Verdict.WAIT, ""),
    "terminating and unmanaged": (pod([], **LEAVING), PLAIN, Verdict.WAIT, ""),
    "terminating daemon": (pod(DAEMON, **LEAVING), PLAIN, Verdict.KEEP, ""),
    "ended, its volumes perhaps not unmounted": (
        pod(status=ENDED, **LEAVING), PLAIN, Verdict.WAIT, "",
    ),
    "held by a finalizer only": (
        pod(status=ENDED, finalizers=["a/b"], **LEAVING), PLAIN, Verdict.KEEP, "",
    ),
    "finalizers, but it runs": (pod(finalizers=["a/b"], **LEAVING), PLAIN, Verdict.WAIT, ""),
    "ended but not deleted": (pod(status=ENDED), PLAIN, Verdict.EVICT, ""),
    "our canary": (pod([], labels={"unshim.dev/canary": "run"}), PLAIN, Verdict.KEEP, ""),
    "selected": (pod(labels={"app": "web"}), SELECT, Verdict.EVICT, ""),
    "not selected": (pod([], labels={"app": "db"}), SELECT, Verdict.KEEP, ""),
}  # fmt: skip


@pytest.mark.parametrize(("body", "options", "verdict", "option"), CASES.values(), ids=CASES.keys())
def test_each_kind_of_pod(
    body: dict[str, Any], options: DrainOptions, verdict: Verdict, option: str
) -> None:
    """Every pod gets a verdict; a refusal names the option that overrides it."""
    (judged,) = eviction.judge([body], options)
    assert (judged.verdict, judged.option) == (verdict, option)
    assert judged.reason or verdict is Verdict.EVICT


@pytest.mark.parametrize(
    ("options", "verdict"),
    [(PLAIN, Verdict.REFUSE), (FORCE, Verdict.EVICT)],
)
def test_orphaned_daemon_pods(options: DrainOptions, verdict: Verdict) -> None:
    """A pod whose DaemonSet is gone leaves only by force."""
    (judged,) = eviction.judge([pod(DAEMON)], options, ORPHAN)
    assert judged.verdict is verdict


def test_verdicts_are_sorted() -> None:
    """The order of pods in a message does not depend on the server's."""
    bodies = [
        pod(name=name, namespace=space) for name, space in [("b", "x"), ("a", "x"), ("z", "a")]
    ]
    assert [j.key for j in eviction.judge(bodies, PLAIN)] == ["a/z", "x/a", "x/b"]


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ("", {}, True),
        ("app=web", {"app": "web"}, True),
        ("app==web,tier!=db", {"app": "web", "tier": "db"}, False),
        ("app!=web", {}, True),
        ("app in (web, api),!old", {"app": "api"}, True),
        ("app notin (web)", {"app": "web"}, False),
        ("app", {"app": ""}, True),
        ("!app", {"app": ""}, False),
        ("a.b/c=d-e", {"a.b/c": "d-e"}, True),
    ],
)
def test_selectors(text: str, labels: dict[str, str], *, expected: bool) -> None:
    """kubectl's label selectors mean what they mean to kubectl."""
    assert selectors.matches(selectors.parse(text), labels) is expected


@pytest.mark.parametrize("text", ["=web", "a in web", "a=b c", "a,,b", "$(x)", "a in (b"])
def test_a_selector_that_does_not_parse_is_refused(text: str) -> None:
    """Nothing is evicted on a guess."""
    with pytest.raises(InvalidSpec, match=r"spec\.drain\.podSelector"):
        eviction.judge([pod()], replace(PLAIN, pod_selector=text))


def budget(selector: dict[str, Any] | None, version: str = "policy/v1") -> dict[str, Any]:
    return {
        "apiVersion": version,
        "metadata": {"namespace": "shop", "name": "b"},
        "spec": {} if selector is None else {"selector": selector},
    }


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (budget({"matchLabels": {"app": "web"}}), True),
        (budget({"matchLabels": {"app": "db"}}), False),
        (budget({"matchExpressions": [{"key": "app", "operator": "Exists"}]}), True),
        (budget({}), True),
        (budget({}, "policy/v1beta1"), False),
        (budget(None), False),
        ({**budget({}), "metadata": {"namespace": "other", "name": "b"}}, False),
    ],
)
def test_budgets_of_a_pod(found: dict[str, Any], *, expected: bool) -> None:
    """A budget is named only when it selects the pod by its own version's rules."""
    assert bool(eviction.budgets_of(pod(labels={"app": "web"}), [found])) is expected
