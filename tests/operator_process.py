"""Runs the real operator against a lab, as a child process inside the lab's network namespace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.lab import Lab

ROOT = Path(__file__).resolve().parent.parent
CANARY_IMAGE = "registry.lab:5000/unshim/canary:1"
FINISHED = ("Succeeded", "RolledBack", "Failed", "Refused", "Audited")


def environment(lab: Lab, **extra: str) -> dict[str, str]:
    """What the operator and the command line need to reach this lab."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT / "operator"),
        "KUBECONFIG": str(lab.kubeconfig),
        "UNSHIM_SSH_USER": "root",
        "UNSHIM_SSH_KEY_FILE": str(lab.ssh_key),
        "UNSHIM_SSH_KNOWN_HOSTS_FILE": str(lab.known_hosts),
        "UNSHIM_NAMESPACE": "unshim-system",
        "UNSHIM_CANARY_IMAGE": CANARY_IMAGE,
        **extra,
    }


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "unshim", *args]


def cli(lab: Lab, *args: str, timeout: int = 600, **extra: str) -> subprocess.CompletedProcess[str]:
    """One `unshim` command inside the lab."""
    return lab.run(*command(*args), env=environment(lab, **extra), timeout=timeout, check=False)


def install(lab: Lab) -> None:
    """CRD and namespace, as a person would apply them."""
    lab.kubectl("apply", "-f", str(ROOT / "crds" / "nodemigrations.yaml"))
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "unshim-system"}}
    lab.kubectl("apply", "-f", "-", input=yaml.safe_dump(namespace))
    accounts = ("get", "serviceaccounts", "-n", "unshim-system", "-o", "name")
    lab.wait(lambda: "default" in lab.kubectl(*accounts), 60, "the namespace's service account")
    lab.kubectl(
        "wait", "--for=condition=Established", "crd/nodemigrations.unshim.dev", "--timeout=60s"
    )


class OperatorProcess:
    """One operator. `kill` is SIGKILL: no goodbye."""

    def __init__(self, lab: Lab, log: Path, **extra: str) -> None:
        self.log = log
        self._out = log.open("ab")
        self.process = lab.popen(
            *command("run", "-v"),
            env=environment(lab, **extra),
            stdout=self._out,
            stderr=subprocess.STDOUT,
        )

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=30)
        self._out.close()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(timeout=20)
        self._out.close()


@contextmanager
def running(lab: Lab, log: Path, **extra: str) -> Iterator[OperatorProcess]:
    """An operator for the length of a `with`."""
    operator = OperatorProcess(lab, log, **extra)
    try:
        yield operator
    finally:
        operator.stop()


def mute_image(lab: Lab) -> str:
    """An image in the lab's registry that can be pulled but has no shell: no canary can run it."""
    name = "registry.lab:5000/unshim/mute:1"
    worker = lab.node("worker-2")
    worker.exec(f"docker tag k8s.gcr.io/pause:3.2 {name} && docker push {name}; docker rmi {name}")
    return name


def migration(name: str, node: str, **spec: Any) -> dict[str, Any]:
    """A NodeMigration that may drain the lab's workloads."""
    drain = {"deleteEmptyDirData": True, **spec.pop("drain", {})}
    return {
        "apiVersion": "unshim.dev/v1alpha1",
        "kind": "NodeMigration",
        "metadata": {"name": name},
        "spec": {"node": node, "drain": drain, **spec},
    }


def apply(lab: Lab, body: Mapping[str, Any]) -> None:
    lab.kubectl("apply", "-f", "-", input=yaml.safe_dump(dict(body)))


def get(lab: Lab, name: str) -> dict[str, Any]:
    import json

    text = lab.kubectl("get", "nodemigration", name, "-o", "json")
    found: dict[str, Any] = json.loads(text)
    return found


def status(lab: Lab, name: str) -> dict[str, Any]:
    found: dict[str, Any] = get(lab, name).get("status") or {}
    return found


def finished(
    lab: Lab, name: str, timeout: float = 400, seen: Callable[[dict[str, Any]], None] | None = None
) -> dict[str, Any]:
    """Wait until the migration has come to its end; `seen` is shown every status on the way."""
    last: dict[str, Any] = {}

    def ended() -> bool:
        last.clear()
        last.update(status(lab, name))
        if seen is not None:
            seen(last)
        return last.get("phase") in FINISHED

    lab.wait(ended, timeout, f"nodemigration {name} to finish")
    return last
