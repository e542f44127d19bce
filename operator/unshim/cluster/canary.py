"""The canary: a pod pinned to the node that shows that pods work there. One short step per call.

What it has shown so far is read from the pod itself (status, log, exec), so a restarted operator
goes on where it was. Only what a deleted one had shown is remembered here: when that memory is
lost, the canary runs once more. That it has ended, the node itself says (`node/proof.sh`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from unshim.cluster import execs, pods
from unshim.cluster.api import Api, expect, segment
from unshim.core import images
from unshim.core.objects import CANARY_LABEL, CanaryResult
from unshim.errors import ClusterUnavailable, Forbidden

CHECKS = ("pulled", "ran", "logged", "network", "exec", "terminated")
WORD = "unshim-canary"
TERMINATING = "the canary pod is terminating"
AGAIN_SECONDS = 5.0  # between a canary that failed and the next one

# Any image with a POSIX shell and one of nc, wget or python3 will do. The API server answers plain
# HTTP on its TLS port with an HTTP error: proof of a round trip, without credentials.
SCRIPT = r"""
trap 'exit 0' TERM INT
ask() {
  if command -v nc >/dev/null 2>&1; then printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 3 "$1" "$2" 2>&1
  elif command -v python3 >/dev/null 2>&1; then python3 -c 'import socket, sys
s = socket.create_connection(sys.argv[1:], 3)
s.sendall(b"GET / HTTP/1.0\r\n\r\n")
print(s.recv(99).decode("latin-1"))' "$1" "$2" 2>&1
  else
    wget -q -T 3 -O - "http://$1:$2/" 2>&1
    [ $? -ne 8 ] || echo HTTP/1  # GNU wget: the server answered with an error
  fi
}
echo unshim-canary started
while read -r line; do echo "cgroup=$line"; done </proc/self/cgroup
until answer=$(ask "$KUBERNETES_SERVICE_HOST" "$KUBERNETES_SERVICE_PORT"); case $answer in
  *HTTP/1*) true ;; *) false ;; esac
do echo "network=failed $answer"; sleep 1 & wait $!; done
echo network=ok
while :; do sleep 60 & wait $!; done
"""


class Canaries:
    """Canary pods, one per run at a time, in one namespace."""

    def __init__(self, api: Api, namespace: str, again_seconds: float = AGAIN_SECONDS) -> None:
        self._api, self._namespace, self._again_seconds = api, namespace, again_seconds
        self._not_before: dict[str, float] = {}  # run -> when one that failed may be replaced
        self._guard = threading.Lock()
        self._deleted: dict[str, CanaryResult] = {}  # run -> all it had shown before it was deleted

    def step(self, node: str, run: str, image: str) -> CanaryResult:
        """Create the pod, look at it, or delete it: whichever is next."""
        reply = self._api.get(self._path(run))
        shown = self._remembered(run)
        if reply.status == 404:
            return shown or self._create(node, run, image)
        pod = expect(reply, f"read canary pod {self._namespace}/{name(run)}").body
        if pod["metadata"].get("deletionTimestamp"):
            return shown or _waiting(TERMINATING)
        if shown:  # an earlier deletion had failed
            pods.delete_canary(self._api, pod)
            return shown
        if not _failed(pod):
            return self._look(pod, run)
        if time.monotonic() >= self._not_before.get(run, 0.0):
            pods.delete_canary(self._api, pod)
        return _waiting(_why(pod))

    def remove(self, run: str) -> None:
        """Leave nothing of the run's canary behind."""
        with self._guard:
            self._deleted.pop(run, None)
            self._not_before.pop(run, None)
        reply = self._api.get(self._path(run))
        if reply.status == 404:
            return
        pod = expect(reply, "read the canary pod").body
        if not pod["metadata"].get("deletionTimestamp"):
            pods.delete_canary(self._api, pod)

    def _remembered(self, run: str) -> CanaryResult | None:
        with self._guard:
            return self._deleted.get(run)

    def _create(self, node: str, run: str, image: str) -> CanaryResult:
        path = f"/api/v1/namespaces/{segment(self._namespace)}/pods"
        reply = self._api.post(path, manifest(node, run, image, self._namespace))
        if reply.status != 409:  # 409: another thread of ours made it
            expect(reply, f"create canary pod {self._namespace}/{name(run)}")
        with self._guard:
            self._not_before[run] = time.monotonic() + self._again_seconds
        return _waiting("the canary pod was created")

    def _look(self, pod: Mapping[str, Any], run: str) -> CanaryResult:
        """Everything a running canary can show; once it has shown it all, it is deleted."""
        running = bool(_container(pod).get("state", {}).get("running"))
        checks = dict.fromkeys(CHECKS, False)
        checks["pulled"] = bool(_container(pod).get("imageID"))
        checks["ran"] = running
        if not running:
            return CanaryResult(checks=checks, message=_why(pod))
        log = self._log(run)
        checks["logged"] = WORD in log
        checks["network"] = "network=ok" in log and bool((pod.get("status") or {}).get("podIP"))
        result = CanaryResult(checks=checks, message=_last(log), cgroup=_cgroup(log))
        if not checks["network"]:
            return result
        return self._exec(pod, run, result)

    def _exec(self, pod: Mapping[str, Any], run: str, result: CanaryResult) -> CanaryResult:
        command = ["sh", "-c", f"echo {WORD}"]
        try:
            checked = execs.run(self._api, self._namespace, name(run), command).strip() == WORD
        except Forbidden:
            raise
        except ClusterUnavailable as exc:
            return replace(result, message=str(exc))
        if not checked:
            return result
        shown = replace(
            result,
            checks={**result.checks, "exec": True},
            message=TERMINATING,
            leaving=str(pod["metadata"].get("uid", "")),
        )
        # Only once its status said that it runs: of a pod deleted before, kubelet 1.20 takes the
        # containers for ended and leaves them running for a minute (seen).
        with self._guard:
            self._deleted[run] = shown
        pods.delete_canary(self._api, pod)
        return shown

    def _log(self, run: str) -> str:
        """Empty while the kubelet cannot serve it: that is what the check is about."""
        try:
            reply = self._api.get(f"{self._path(run)}/log", tailLines=60, limitBytes=16384)
        except Forbidden:
            raise
        except ClusterUnavailable:
            return ""
        return reply.text if reply.ok else ""

    def _path(self, run: str) -> str:
        return f"/api/v1/namespaces/{segment(self._namespace)}/pods/{name(run)}"


def name(run: str) -> str:
    return f"{WORD}-{run}"[:63].rstrip("-.")


def manifest(node: str, run: str, image: str, namespace: str) -> dict[str, Any]:
    """A pod that Pod Security's `restricted` admits, and that no taint or cordon keeps away."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name(run),
            "namespace": namespace,
            "labels": {CANARY_LABEL: run, "app.kubernetes.io/managed-by": "unshim"},
            "annotations": {
                "unshim.dev/why": f"shows that pods work on node {node}; gone in seconds",
                "cluster-autoscaler.kubernetes.io/safe-to-evict": "true",
            },
        },
        "spec": {
            "nodeName": node,
            "tolerations": [{"operator": "Exists"}],
            # A kubelet below 1.22 may look once more at a pod that was deleted without grace, and
            # would start one that is to be restarted.
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65534,
                "runAsGroup": 65534,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_container_spec(image)],
        },
    }


def _container_spec(image: str) -> dict[str, Any]:
    return {
        "name": "canary",
        "image": image,
        "imagePullPolicy": images.canary_policy(image),
        "command": ["sh", "-c", SCRIPT],
        "resources": {
            "requests": {"cpu": "5m", "memory": "16Mi"},
            "limits": {"memory": "64Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _container(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return statuses[0] if statuses else {}


def _failed(pod: Mapping[str, Any]) -> bool:
    """It could not start, or the kubelet turned it away or evicted it: only a new one can run."""
    return (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def _why(pod: Mapping[str, Any]) -> str:
    """Why the canary is not running, in the kubelet's own words."""
    status = pod.get("status") or {}
    state = _container(pod).get("state") or {}
    for said in (state.get("waiting"), state.get("terminated"), status):
        if said and (said.get("reason") or said.get("message")):
            words = (str(said.get("reason") or ""), str(said.get("message") or "")[:200])
            return f"canary pod: {': '.join(word for word in words if word)}"
    return f"canary pod: {status.get('phase') or 'not yet seen by the kubelet'}"


def _last(log: str) -> str:
    lines = [line for line in log.splitlines() if line.startswith("network=failed")]
    return f"canary pod: {lines[-1][:200]}" if lines else "canary pod: running"


def _cgroup(log: str) -> str:
    """The distinct paths; every controller of cgroup v1 repeats the same one."""
    lines = [line for line in log.splitlines() if line.startswith("cgroup=")]
    return "\n".join(dict.fromkeys(line.split(":", 2)[-1] for line in lines))


def _waiting(message: str) -> CanaryResult:
    return CanaryResult(checks=dict.fromkeys(CHECKS, False), message=message)
