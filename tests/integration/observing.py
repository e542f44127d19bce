"""What these tests look at: a node from the API and from inside, before, during and after a run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from tests import operator_process as unshim
from tests.lab import Lab, builds
from tests.lab.shells import wait
from unshim.core.objects import CRI_SOCKET_ANNOTATION, STAMP_ANNOTATION

MARKS = [
    pytest.mark.lab,
    # the lab's machines outlive the objects that started them
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a rollback, or a run that refuses, must leave equal."""

    files_and_units: Mapping[str, str]
    cri_socket: str | None
    unschedulable: bool
    taints: list[Any]
    stamp: str | None


def see(lab: Lab, name: str) -> Seen:
    node = lab.node_object(name)
    annotations = node["metadata"].get("annotations", {})
    return Seen(
        files_and_units=dict(lab.node(name).listing()),
        cri_socket=annotations.get(CRI_SOCKET_ANNOTATION),
        unschedulable=bool(node["spec"].get("unschedulable")),
        taints=node["spec"].get("taints", []),
        stamp=annotations.get(STAMP_ANNOTATION),
    )


def assert_same(before: Seen, after: Seen) -> None:
    """Equal, with the files that differ named first."""
    old, new = dict(before.files_and_units), dict(after.files_and_units)
    different = {
        key: (old.get(key), new.get(key)) for key in old | new if old.get(key) != new.get(key)
    }
    assert different == {}
    assert before == after


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def serves(lab: Lab, name: str, runtime: str, since: str = "") -> bool:
    """Ready by a heartbeat after `since`, schedulable, every pod Ready on that runtime."""
    try:
        node = lab.node_object(name)
        renewed = lab.get("lease", "-n", "kube-node-lease", name)["spec"]["renewTime"]
        pods = pods_on(lab, name)
    except RuntimeError:
        return False  # the API server is not there at this moment
    info: str = node["status"]["nodeInfo"]["containerRuntimeVersion"]
    on = all(on_runtime(pod, runtime) for pod in pods)
    return ready(node) and renewed > since and info.startswith(runtime) and on and bool(pods)


def pods_on(lab: Lab, name: str) -> list[dict[str, Any]]:
    """Without those that are going, such as the canary of a proof that failed."""
    found = lab.get("pods", "-A", "--field-selector", f"spec.nodeName={name}")["items"]
    kept = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
    return [pod for pod in kept if pod["status"].get("phase") not in ("Succeeded", "Failed")]


def ready(thing: Mapping[str, Any]) -> bool:
    conditions = thing["status"].get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def on_runtime(pod: Mapping[str, Any], runtime: str) -> bool:
    """Ready, with every container on that runtime."""
    statuses = pod["status"].get("containerStatuses", [])
    ids = [status.get("containerID", "") for status in statuses]
    return ready(pod) and bool(ids) and all(one.startswith(runtime) for one in ids)


def wait_serves(lab: Lab, name: str, runtime: str, since: str = "", timeout: float = 120) -> None:
    what = f"{name} and its pods to be Ready on {runtime}"
    lab.wait(lambda: serves(lab, name, runtime, since), timeout, what)


def is_on(lab: Lab, name: str, runtime: str) -> bool:
    info: str = lab.node_object(name)["status"]["nodeInfo"]["containerRuntimeVersion"]
    return info.startswith(runtime)


def schedulable(lab: Lab, name: str) -> bool:
    return not lab.node_object(name)["spec"].get("unschedulable")


def wait_phase(lab: Lab, name: str, phase: str) -> None:
    """Return as soon as a status with this phase has been written; a watch tells every one."""
    kubectl = [str(builds.kubernetes() / "kubectl"), "--kubeconfig", str(lab.kubeconfig)]
    wanted = ["get", "nodemigration", name, "-o", 'jsonpath={.status.phase}{"\\n"}']
    argv = [*kubectl, *wanted, "--watch", "--request-timeout=180s"]
    watch = lab.popen(*argv, stdout=subprocess.PIPE, bufsize=0)
    assert watch.stdout is not None
    try:
        for line in watch.stdout:
            seen = line.decode().strip()
            if seen == phase:
                return
            assert seen not in unshim.FINISHED, f"{name} ended {seen} without {phase}"
        raise TimeoutError(f"nodemigration {name} was never seen in phase {phase}")
    finally:
        watch.kill()
        watch.wait(timeout=10)
        watch.stdout.close()


def bring_web(lab: Lab, name: str) -> None:
    """See to it that the worker has a pod of `web`: one that a drain evicts."""
    if any(pod["metadata"]["name"].startswith("web-") for pod in pods_on(lab, name)):
        return
    others = [node for node in lab.names if node.startswith("worker-") and node != name]
    lab.kubectl("cordon", *others)
    lab.kubectl("delete", "pod", "-n", "apps", "-l", "app=web")
    lab.wait_ready()
    lab.kubectl("uncordon", *others)


def uid(lab: Lab, name: str) -> str:
    found: str = unshim.get(lab, name)["metadata"]["uid"]
    return found


def journal(lab: Lab, node: str, run: str) -> list[dict[str, Any]]:
    """The run's journal as it is on the node's disk at this moment."""
    text = lab.node(node).exec(f"cat /var/lib/unshim/{run}/journal", check=False).stdout
    complete = text.rpartition("\n")[0]
    return [json.loads(line) for line in complete.splitlines()]


def wait_event(lab: Lab, node: str, run: str, word: str, timeout: float = 120) -> None:
    """Until the node's journal holds `event` or `event step`."""

    def there() -> bool:
        words = {f"{e['event']} {e['step']}".strip() for e in journal(lab, node, run)}
        return word in words

    wait(there, timeout, f"{word!r} in the journal of {node}", every=0.02)


def left_over(lab: Lab, name: str) -> list[str]:
    """Files and units of unshim outside its own folder."""
    script = "find /etc /run/systemd -name '*unshim*'; systemctl list-units -q --plain 'unshim*'"
    return lab.node(name).exec(script).stdout.splitlines()


def expire_lease(lab: Lab, node: str) -> None:
    """As if time had passed since the operator died: its Lease was last renewed long ago."""
    patch = '{"spec":{"renewTime":"2020-01-01T00:00:00.000000Z"}}'
    where = ("-n", "kube-system", f"unshim-{node}")
    lab.kubectl("patch", "lease", *where, "--type", "merge", "-p", patch)
