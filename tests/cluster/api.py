"""A small API server over real HTTP that holds state: objects, versions, conflicts, evictions.

It stands in for the server in tests of faults that a real one cannot be told to have. What it
claims about Kubernetes is checked against a real 1.20 server in `lab/`.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import kubernetes

from unshim.cluster.api import Api

Object = dict[str, Any]
COLLECTIONS = {
    "nodes", "pods", "leases", "events", "daemonsets", "poddisruptionbudgets", "nodemigrations",
    "configmaps", "persistentvolumes", "persistentvolumeclaims", "runtimeclasses",
    "deployments", "replicasets", "jobs", "cronjobs", "services",
    "validatingwebhookconfigurations", "mutatingwebhookconfigurations",
}  # fmt: skip


@dataclass
class Fault:
    """One answer that replaces the server's own. `after` acts first, and loses the answer."""

    method: str
    part: str  # of the path
    status: int = 0  # 0: close the connection without an answer
    body: Object = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    after: bool = False
    delay: float = 0.0  # seconds


@dataclass
class Server:
    """The server's state. Tests read and write it directly, as other clients would."""

    objects: dict[str, Object] = field(default_factory=dict)  # path -> object
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str, Object]] = field(default_factory=list)
    eviction_version: str = "v1"
    policy: str = "v1"
    admission: str = "v1"
    logs: dict[str, str] = field(default_factory=dict)  # pod name -> log
    exec_output: str = "unshim-canary\n"
    graceful: bool = False  # deleted pods stay, terminating
    version: int = 100
    guard: threading.RLock = field(default_factory=threading.RLock)

    def put(self, path: str, body: Object) -> Object:
        with self.guard:
            self.version += 1
            body.setdefault("metadata", {})["resourceVersion"] = str(self.version)
            body["metadata"].setdefault("uid", f"uid-{self.version}")
            body["metadata"].setdefault("name", path.rsplit("/", 1)[1])
            parts = path.split("/")
            if "namespaces" in parts:
                body["metadata"].setdefault("namespace", parts[parts.index("namespaces") + 1])
            self.objects[path] = body
            return body

    def count(self, method: str, part: str) -> int:
        return sum(1 for m, path, _ in self.requests if m == method and part in path)

    def remove(self, path: str, *, at_once: bool = False) -> None:
        body = self.objects[path]
        if self.graceful and not at_once:
            body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            self.put(path, body)
        else:
            del self.objects[path]


def merge(target: Any, change: Any) -> Any:
    """RFC 7396."""
    if not isinstance(change, dict):
        return copy.deepcopy(change)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def failure(
    code: int, message: str, reason: str = "", causes: list[Object] | None = None
) -> Object:
    details = {"causes": causes} if causes else {}
    return {
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "code": code, "message": message, "reason": reason, "details": details,
    }  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    """One request. Answers come from `self.state`."""

    protocol_version = "HTTP/1.1"
    state: Server

    def log_message(self, *args: object) -> None:
        pass

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        body: Object = json.loads(raw) if raw else {}
        with self.state.guard:
            self.state.requests.append((self.command, self.path, body))
            fault = self._fault()
        if fault and not fault.after:
            return self._fail(fault)
        if parts.path.endswith("/exec"):
            return self._exec()
        with self.state.guard:
            status, answer = self._answer(parts.path, query, body)
        if fault:
            return self._fail(fault)
        return self._reply(status, answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815

    def _fault(self) -> Fault | None:
        for fault in self.state.faults:
            if fault.method == self.command and fault.part in self.path:
                self.state.faults.remove(fault)
                return fault
        return None

    def _fail(self, fault: Fault) -> None:
        time.sleep(fault.delay)
        if not fault.status:
            self.close_connection = True
            self.connection.close()
            return
        self._reply(fault.status, fault.body or failure(fault.status, "injected"), fault.headers)

    def _reply(
        self, status: int, answer: Object | str, headers: dict[str, str] | None = None
    ) -> None:
        text = isinstance(answer, str)
        data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "text/plain" if text else "application/json")
        self.send_header("content-length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, path: str, query: dict[str, str], body: Object) -> tuple[int, Object | str]:
        last = path.rsplit("/", 1)[1]
        if path == "/api/v1":
            return 200, self._discovery()
        if "/apis/policy/" in path and f"/policy/{self.state.policy}/" not in path:
            return 404, failure(404, "the server could not find the requested resource")
        if "/apis/admission" in path and f"/{self.state.admission}/" not in path:
            return 404, failure(404, "the server could not find the requested resource")
        if last == "eviction":
            return self._evict(path.removesuffix("/eviction"), body)
        if last == "log":
            return 200, self.state.logs.get(path.split("/")[-2], "")
        if last == "status":
            return self._write(path.removesuffix("/status"), body)
        if last in COLLECTIONS:
            return self._list(path, query) if self.command == "GET" else self._create(path, body)
        if self.command == "GET":
            found = self.state.objects.get(path)
            return (200, found) if found else self._missing(path)
        return self._write(path, body)

    def _discovery(self) -> Object:
        resources: list[Object] = [{"name": "pods", "kind": "Pod"}]
        if self.state.eviction_version:
            resources.append({
                "name": "pods/eviction", "kind": "Eviction",
                "group": "policy", "version": self.state.eviction_version,
            })  # fmt: skip
        return {"kind": "APIResourceList", "resources": resources}

    def _list(self, path: str, query: dict[str, str]) -> tuple[int, Object]:
        kind = path.rsplit("/", 1)[1]
        prefix = path if "/namespaces/" in path else path.removesuffix(f"/{kind}")
        _, _, wanted = query.get("fieldSelector", "").rpartition("=")
        labels = dict(parse_qsl(query.get("labelSelector", "").replace(",", "&")))
        items = [
            body for key, body in sorted(self.state.objects.items())
            if key.startswith(prefix + "/") and key.split("/")[-2] == kind
            and (not wanted or body.get("spec", {}).get("nodeName") == wanted)
            and labels.items() <= body["metadata"].get("labels", {}).items()
        ]  # fmt: skip
        start, limit = int(query.get("continue", 0)), int(query.get("limit", 10_000))
        rest = start + limit
        metadata = {"continue": str(rest)} if rest < len(items) else {}
        return 200, {"metadata": metadata, "items": items[start:rest]}

    def _create(self, path: str, body: Object) -> tuple[int, Object]:
        key = f"{path}/{body['metadata']['name']}"
        if key in self.state.objects:
            return 409, failure(409, f"{key} already exists", "AlreadyExists")
        return 201, self.state.put(key, body)

    def _write(self, path: str, body: Object) -> tuple[int, Object]:
        found = self.state.objects.get(path)
        if found is None:
            return self._missing(path)
        if self.command == "DELETE":
            self.state.remove(path, at_once=body.get("gracePeriodSeconds") == 0)
            return 200, {"kind": "Status", "status": "Success"}
        version = (body.get("metadata") or {}).get("resourceVersion")
        if version and version != found["metadata"]["resourceVersion"]:
            return 409, failure(409, "the object has been modified", "Conflict")
        return 200, self.state.put(path, merge(found, body) if self.command == "PATCH" else body)

    def _evict(self, path: str, body: Object) -> tuple[int, Object]:
        found = self.state.objects.get(path)
        options = body.get("deleteOptions") or {}
        if found is None:
            return self._missing(path)
        if options.get("preconditions", {}).get("uid") != found["metadata"]["uid"]:
            return 409, failure(409, "the UID in the precondition does not match", "Conflict")
        if body["apiVersion"] != f"policy/{self.state.eviction_version}":
            return 400, failure(400, "no kind Eviction in this version")
        if "dryRun" not in options:
            self.state.remove(path)
        return 201, {"kind": "Status", "status": "Success"}

    def _missing(self, path: str) -> tuple[int, Object]:
        return 404, failure(404, f"{path} not found", "NotFound")

    def _exec(self) -> None:
        """The websocket of `kubectl exec`: standard output, then the closing status."""
        magic = self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(magic.encode()).digest()).decode()  # noqa: S324
        self.send_response(101)
        self.send_header("upgrade", "websocket")
        self.send_header("connection", "Upgrade")
        self.send_header("sec-websocket-accept", accept)
        self.send_header("sec-websocket-protocol", "v4.channel.k8s.io")
        self.end_headers()
        for data in (b"\x01" + self.state.exec_output.encode(), b'\x03{"status":"Success"}'):
            self.wfile.write(bytes([0x82, len(data)]) + data)
        self.close_connection = True


@contextmanager
def serving(state: Server) -> Iterator[str]:
    """The server's URL while it runs."""
    handler = type("BoundHandler", (Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def client(url: str, *, attempts: int = 4, pause: float = 0.01) -> Api:
    """An Api for this server, with short pauses between tries."""
    configuration = kubernetes.client.Configuration(host=url)
    made = kubernetes.client.ApiClient(configuration)
    return Api(
        SimpleNamespace(configuration=configuration, rest_client=made.rest_client),
        attempts=attempts,
        pause=pause,
    )
