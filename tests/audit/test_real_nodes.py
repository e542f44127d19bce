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


@pytest.mark.parametrize("name", ["worker", "control-plane"])
def test_facts_are_called_what_the_rules_call_them(name: str) -> None:
    """A rule that asks for a name that no node gives would be silent for ever."""
    facts = facts_parse.parse((FACTS / f"{name}.txt").read_text())
    assert "net.ipv4.ip_forward" in facts.sysctls
    assert {"kubelet.service", "docker.service", "docker.socket"} <= set(facts.units)
    assert {"/var/lib/docker", "/var/lib/containerd"} <= {disk.path for disk in facts.disks}
    assert {"flock", "systemd-run", "sha256sum", "tar"} <= facts.tools
    assert facts.docker is not None
    wanted = {"CgroupDriver", "Driver", "DriverStatus", "LoggingDriver", "Swarm", "DefaultRuntime"}
    assert wanted <= set(facts.docker.info)
