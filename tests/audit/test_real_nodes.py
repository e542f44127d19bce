"""The audit over facts that were read on real nodes (kubeadm 1.20.2, Docker 20.10.24)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.audit import loading
from unshim.audit import Severity, audit, preflight
from unshim.core import facts_parse
from unshim.core.objects import Node
from unshim.core.options import Options

FACTS = Path(__file__).parents[1] / "core" / "data" / "facts"


@pytest.mark.parametrize("name", ["worker", "control-plane"])
def test_a_real_node_is_not_blocked(name: str) -> None:
    """A node of the lab, which is known to migrate, has no blocker."""
    facts = facts_parse.parse((FACTS / f"{name}.txt").read_text())
    node = Node(
        name=facts.hostname,
        uid="u",
        unschedulable=False,
        ready=True,
        runtime="docker://20.10.24",
        kubelet_version="v1.20.2",
        heartbeat=None,
    )
    options = Options(node=facts.hostname)
    findings = audit(preflight(node, (), facts, options, now=loading.NOW))
    assert not [f.message for f in findings if f.severity is Severity.BLOCKER]
    assert findings
