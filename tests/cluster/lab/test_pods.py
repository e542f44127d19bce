"""A canary and a drain, of real pods."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.cluster.lab.objects import (
    IMAGE,
    MARK,
    NODE,
    SPACE,
    budget,
    create,
    own_side,
    pod,
    running,
    wait,
)
from tests.lab import Lab
from unshim.cluster import Api, KubernetesCluster
from unshim.core import proof
from unshim.core.options import DrainOptions
from unshim.drain import Drain
from unshim.errors import DrainRefused

pytestmark = MARK


def test_canary(lab: Lab, cluster: KubernetesCluster) -> None:
    """A real canary shows everything within seconds; its node is the first to know its end."""
    began = time.monotonic()
    run = f"ct-{os.getpid()}"

    def leaving() -> Any:
        result = cluster.canary(NODE, run, IMAGE)
        return result if result.leaving else None

    result = wait(leaving)
    assert not proof.canary_check(result).ok
    assert "kubepods" in result.cgroup
    assert proof.canary_check(result, own_side(lab, result.leaving)).ok
    cluster.remove_canary(NODE, run)
    assert time.monotonic() - began < 15


def test_drain(cluster: KubernetesCluster, admin: Api) -> None:
    """A real drain: one pod leaves, one is held by a budget and named, until the budget goes."""
    create(admin, pod("free"))
    create(admin, pod("held", app="held"))
    for name in ("free", "held"):
        running(admin, name)
    another = running(admin, "free")
    another["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    assert cluster.evict(another, grace_seconds=None, dry_run=False).verdict == "gone"
    budget(admin, "first")
    drain = Drain(cluster, DrainOptions(force=True, pod_selector=f"test={SPACE}"))

    def named() -> Any:
        state = drain.pass_once(NODE, datetime.now(UTC))
        return state if state.pending == 1 and state.blocked_by else None

    state = wait(named)
    assert state.blocked_by == (f"PodDisruptionBudget {SPACE}/first: 1 healthy, 1 required",)
    rehearsal = cluster.evict(running(admin, "held"), grace_seconds=None, dry_run=True)
    assert rehearsal.verdict == "blocked"
    budget(admin, "second")
    with pytest.raises(DrainRefused, match="more than one"):
        wait(lambda: drain.pass_once(NODE, datetime.now(UTC) + timedelta(seconds=99)).done)
    for name in ("first", "second"):
        admin.delete(f"/apis/policy/v1beta1/namespaces/{SPACE}/poddisruptionbudgets/{name}", {})
    again = Drain(cluster, DrainOptions(force=True, pod_selector=f"test={SPACE}"))
    wait(lambda: again.pass_once(NODE, datetime.now(UTC)).done)
