"""`make demo`: the main job on a real cluster. One worker migrates, one fails and comes back.

Exits 0 only if both are true in the API and on the nodes.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from tests import operator_process as unshim
from tests.lab import Lab


def main() -> int:
    started = time.monotonic()
    _say("Starting a kubeadm 1.20 cluster on dockershim (the first time builds it: minutes)")
    lab = Lab.up(name="demo")
    try:
        return _demo(lab, started)
    except TimeoutError:
        print((lab.directory / "operator.log").read_text()[-4000:])
        raise
    finally:
        _say("Cleaning up")
        lab.down()


def _demo(lab: Lab, started: float) -> int:
    unshim.install(lab)
    print(lab.kubectl("get", "nodes", "-o", "wide"))
    with unshim.running(lab, Path(lab.directory) / "operator.log"):
        _say("kubectl apply: worker-1 to containerd")
        unshim.apply(lab, unshim.migration("worker-1", "worker-1"))
        unshim.finished(lab, "worker-1", seen=_Follower("worker-1"))
        _say("kubectl apply: worker-2, whose proof cannot succeed (its canary image has no shell)")
        failing = {"canaryImage": unshim.mute_image(lab), "timeoutSeconds": 20}
        unshim.apply(lab, unshim.migration("worker-2", "worker-2", verify=failing))
        unshim.finished(lab, "worker-2", seen=_Follower("worker-2"))
    rows = [_row(lab, "worker-1"), _row(lab, "worker-2")]
    _say(f"Result after {time.monotonic() - started:.0f} s")
    for row in rows:
        print("  ".join(cell.ljust(24) for cell in row).rstrip())
    good = _is(lab, rows[0], "containerd://", "Succeeded") and _is(
        lab, rows[1], "docker://", "RolledBack"
    )
    print("\nBoth are true in the API and on the nodes." if good else "\nNOT as promised.")
    return 0 if good else 1


class _Follower:
    """Prints a line whenever phase, step or message moves."""

    def __init__(self, name: str) -> None:
        self._name, self._last = name, ("", "", "")

    def __call__(self, status: dict[str, Any]) -> None:
        line = tuple(str(status.get(k) or "") for k in ("phase", "step", "message"))
        if line != self._last:
            self._last = line  # type: ignore[assignment]
            print(f"  {self._name}  {line[0]:<12} {line[1]:<24} {line[2]}".rstrip(), flush=True)


def _row(lab: Lab, name: str) -> tuple[str, ...]:
    node = lab.node_object(name)
    info = node["status"]["nodeInfo"]["containerRuntimeVersion"]
    ready = next(c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready")
    schedulable = "unschedulable" if node["spec"].get("unschedulable") else "schedulable"
    status = unshim.status(lab, name)
    reason = f" ({status.get('reason')})" if status.get("phase") == "RolledBack" else ""
    word = "Ready" if ready == "True" else "NotReady"
    return (name, info, word, schedulable, f"{status.get('phase')}{reason}")


def _is(lab: Lab, row: tuple[str, ...], runtime: str, phase: str) -> bool:
    """What the API says, and the same thing seen on the machine itself."""
    name, info, ready, schedulable, ended = row
    in_api = info.startswith(runtime) and (ready, schedulable) == ("Ready", "schedulable")
    docker = lab.node(name).docker_k8s_containers()
    cri = lab.node(name).cri_containers()
    on_node = bool(cri and not docker) if runtime == "containerd://" else bool(docker and not cri)
    return in_api and on_node and ended.startswith(phase)


def _say(text: str) -> None:
    print(f"\n== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
