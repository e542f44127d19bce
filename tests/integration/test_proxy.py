"""A node whose Docker reaches registries through a proxy only: containerd gets the same proxy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import documents
from tests import operator_process as unshim
from tests.integration import observing
from tests.integration.observing import MARKS
from tests.integration.scenes import DELETE, IMAGE, NODE, deployment, objects
from tests.lab import Lab, network, proxy

pytestmark = MARKS

DROP_IN = "/etc/systemd/system/docker.service.d/proxy.conf"
SETTINGS = f"""[Service]
Environment=HTTP_PROXY=http://{network.HOST}:{proxy.PORT} NO_PROXY=localhost,10.96.0.0/12
"""
CONTAINER = {"name": "c", "image": IMAGE, "imagePullPolicy": "Always"}


@pytest.fixture
def seen(lab: Lab, tmp_path: Path) -> Iterator[Path]:
    """NODE cannot speak to the registry itself; what the proxy was asked for."""
    log = tmp_path / "proxy.log"
    argv = (sys.executable, "-m", "tests.lab.proxy", str(log))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with lab.popen(*argv, cwd=documents.ROOT, **pipes) as server:
        assert server.stdin
        assert server.stdout
        assert server.stdout.readline() == b"serving\n"
        _registry_is_out_of_reach(lab, "-I")
        _tell_docker(lab, f"mkdir -p $(dirname {DROP_IN}) && cat >{DROP_IN}", SETTINGS)
        try:
            yield log
        finally:
            _tell_docker(lab, f"rm -f {DROP_IN}", "")
            _registry_is_out_of_reach(lab, "-D")
            server.stdin.close()


def _registry_is_out_of_reach(lab: Lab, verb: str) -> None:
    rule = ["-d", network.HOST, "-p", "tcp", "--dport", "5000", "-j", "REJECT"]
    lab.node(NODE).iptables(verb, "OUTPUT", *rule)


def _tell_docker(lab: Lab, script: str, text: str) -> None:
    node = lab.node(NODE)
    node.exec(f"{script}; systemctl daemon-reload; systemctl restart docker", input=text)
    observing.wait_serves(lab, NODE, "docker://")
    lab.wait_ready()


def test_containerd_pulls_through_the_proxy_that_docker_has(lab: Lab, seen: Path) -> None:
    """Asked for in the audit, rehearsed in the stage, and used by a pod of the new kubelet."""
    with objects(deployment("pulls", containers=[CONTAINER]))(lab):
        seen.write_text("")
        audit = unshim.cli(lab, "audit", NODE, *DELETE)
        assert audit.returncode == 0, audit.stdout
        assert "containerd/" in seen.read_text(), "the audit asks as containerd will"
        seen.write_text("")
        ran = unshim.cli(lab, "migrate", NODE, *DELETE)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        lab.wait(lambda: _runs_on_containerd(lab), 60, "the pod that pulls its image")
        manifest = IMAGE.replace("registry.lab:5000/", "/v2/").replace(":", "/manifests/")
        asked = [line for line in seen.read_text().splitlines() if manifest in line]
        assert any("containerd/" in line for line in asked), asked
        back = unshim.cli(lab, "rollback", NODE, *DELETE)
        assert back.returncode == 0, back.stdout + back.stderr


def _runs_on_containerd(lab: Lab) -> bool:
    pods = lab.get("pods", "-n", "apps", "-l", "app=pulls")["items"]
    return bool(pods) and all(observing.on_runtime(pod, "containerd://") for pod in pods)
