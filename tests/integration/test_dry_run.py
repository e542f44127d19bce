"""A dry run writes nothing, by the API server's own log, and says what a run then does."""

from __future__ import annotations

from typing import Any

import pytest

from tests import operator_process as unshim
from tests.integration import faults, observing
from tests.integration.observing import MARKS
from tests.lab import Lab

pytestmark = MARKS

NODE = "worker-1"
READS = {"get", "list", "watch"}
# names, sizes and times of what an image, a container or a pod's folder would change
STORES = (
    "cd /var/lib && find kubelet docker/image docker/containers docker/overlay2 -maxdepth 2 "
    "-not -name '*.log' -printf '%p %y %m %U\\n' 2>/dev/null | sort; "
    "ctr -n k8s.io images ls -q; ls /var/lib/unshim 2>&1 | sort"
)


@pytest.mark.usefixtures("operator")
def test_a_dry_run_changes_nothing_and_foretells_the_run(lab: Lab) -> None:
    """Only its own status, report and Lease, and dry-run evictions; the run does as listed."""
    listed = _nothing_is_written(lab)
    assert [entry["step"] for entry in listed] == faults.steps("stage", "switch")
    applied = _runs(lab)
    expected = {entry["step"]: entry["state"] for entry in listed}
    assert {step: expected[step] for step in applied} == applied
    assert set(expected) == set(applied)


def _nothing_is_written(lab: Lab) -> list[dict[str, Any]]:
    observing.bring_web(lab, NODE)
    before, stores = observing.see(lab, NODE), lab.node(NODE).exec(STORES).stdout
    pods = _pods(lab)
    seen = len(lab.audit_log())
    unshim.apply(lab, unshim.migration("looks", NODE, dryRun=True))
    ended = unshim.finished(lab, "looks")
    assert ended["phase"] == "Audited", ended["message"]
    written = [entry for entry in lab.audit_log()[seen:] if _writes(entry)]
    assert [entry["requestURI"] for entry in written if not _harmless(entry)] == []
    assert any(_rehearsal(entry) for entry in written)
    assert _pods(lab) == pods
    observing.assert_same(before, observing.see(lab, NODE))
    assert lab.node(NODE).exec(STORES).stdout == stores
    found: list[dict[str, Any]] = ended["plan"]
    return found


def _writes(entry: dict[str, Any]) -> bool:
    """By the operator: ours and kopf's requests carry their names."""
    ours = entry.get("userAgent", "").startswith(("unshim", "kopf", "python", "OpenAPI"))
    return ours and entry["verb"] not in READS and entry["stage"] == "ResponseComplete"


def _harmless(entry: dict[str, Any]) -> bool:
    kind = entry.get("objectRef", {}).get("resource")
    return _rehearsal(entry) or _report(entry) or kind in ("leases", "nodemigrations")


def _report(entry: dict[str, Any]) -> bool:
    return bool(entry["requestURI"] == "/api/v1/namespaces/unshim-system/configmaps")


def _rehearsal(entry: dict[str, Any]) -> bool:
    """The log holds no bodies: that it was a dry run is seen by the pods, which are all there."""
    return bool(entry.get("objectRef", {}).get("subresource") == "eviction")


def _pods(lab: Lab) -> set[str]:
    """Those that stay: one that was evicted in earnest is missing here."""
    return {pod["metadata"]["uid"] for pod in observing.pods_on(lab, NODE)}


def _runs(lab: Lab) -> dict[str, str]:
    """What the node's journal says about each step, in the dry run's words."""
    unshim.apply(lab, unshim.migration("does", NODE))
    ended = unshim.finished(lab, "does")
    assert ended["phase"] == "Succeeded", ended["message"]
    words = {"done": "would apply", "skipped": "already so"}
    entries = observing.journal(lab, NODE, observing.uid(lab, "does"))
    done = unshim.cli(lab, "rollback", NODE, "--delete-emptydir-data")
    assert done.returncode == 0, done.stdout + done.stderr
    return {entry["step"]: words[entry["event"]] for entry in entries if entry["event"] in words}
