"""A real kube-apiserver on a real etcd, on loopback, in a temporary folder; gone afterwards.

No kubelet and no controller: it only serves objects. Nothing of it outlives this process, not even
when that is killed: the kernel ends the servers with their parent (setpriv --pdeathsig).
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from tests.lab import builds
from tests.lab.shells import wait

TOKEN = "bench"  # noqa: S105  the server listens on loopback, for minutes
PREFIX = "unshim-bench-"  # then the pid of whoever uses the folder
PROTOBUF = "application/vnd.kubernetes.protobuf"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServer:
    """`pids` by program name; `url` wants TOKEN as bearer and the certificate in `folder`."""

    folder: Path
    url: str
    etcd_port: int
    pids: Mapping[str, int]

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    def get(self, path: str, accept: str = "application/json") -> bytes:
        """Raises HTTPError."""
        headers = {"authorization": f"Bearer {TOKEN}", "accept": accept}
        request = urllib.request.Request(self.url + path, headers=headers)  # noqa: S310
        context = ssl.create_default_context(cafile=str(self.folder / "tls.crt"))
        with urllib.request.urlopen(request, timeout=60, context=context) as reply:  # noqa: S310
            found: bytes = reply.read()
            return found

    def cpu_seconds(self) -> dict[str, float]:
        """Processor time so far, by program."""
        ticks = os.sysconf("SC_CLK_TCK")
        found = {}
        for name, pid in self.pids.items():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            found[name] = (int(fields[11]) + int(fields[12])) / ticks
        return found


class Etcd:
    """etcd's own JSON gateway, for writing many keys quickly."""

    def __init__(self, port: int) -> None:
        self._link = HTTPConnection("127.0.0.1", port, timeout=60)

    def put(self, pairs: Sequence[tuple[str, bytes]]) -> None:
        """At most 128 pairs of together about one megabyte, in one transaction."""
        puts = [
            {"requestPut": {"key": _text(key.encode()), "value": _text(value)}}
            for key, value in pairs
        ]
        self._call("/v3/kv/txn", {"success": puts})

    def delete(self, key: str) -> None:
        self._call("/v3/kv/deleterange", {"key": _text(key.encode())})

    def compact(self) -> None:
        """Forget the past: page tokens handed out so far expire."""
        written = self._call("/v3/kv/put", {"key": _text(b"/bench"), "value": _text(b"later")})
        revision = written["header"]["revision"]
        self._call("/v3/kv/compaction", {"revision": revision, "physical": True})

    def close(self) -> None:
        self._link.close()

    def _call(self, path: str, body: Mapping[str, object]) -> dict[str, dict[str, str]]:
        self._link.request("POST", path, json.dumps(body))
        reply = self._link.getresponse()
        text = reply.read()
        if reply.status != 200:
            raise RuntimeError(f"etcd answered {reply.status} to {path}: {text[:300]!r}")
        found: dict[str, dict[str, str]] = json.loads(text)
        return found


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@contextmanager
def serving() -> Iterator[ApiServer]:
    """The server while it runs."""
    builds.packages(("etcd-server", "openssl"))
    binaries = builds.kubernetes()
    _sweep()
    with ExitStack() as ends:
        own = f"{PREFIX}{os.getpid()}-"
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix=own)))
        etcd_port, peer_port, port = _free_ports(3)
        etcd = _start(ends, folder, _etcd(folder, etcd_port, peer_port))
        wait(lambda: _listens(etcd_port), 30, "etcd to listen")
        _credentials(folder, port)
        api = _start(ends, folder, _apiserver(binaries, folder, etcd_port, port))
        pids = {"etcd": etcd.pid, "kube-apiserver": api.pid}
        url = f"https://127.0.0.1:{port}"
        server = ApiServer(folder=folder, url=url, etcd_port=etcd_port, pids=pids)
        wait(lambda: _ready(server), 90, "the API server to be ready")
        yield server


def _sweep() -> None:
    """Remove the folders of processes that were killed."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        pid = left.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left, ignore_errors=True)


def _start(ends: ExitStack, folder: Path, argv: Sequence[str]) -> subprocess.Popen[bytes]:
    log = ends.enter_context((folder / f"{Path(argv[0]).name}.log").open("wb"))
    guarded = ["setpriv", "--pdeathsig", "KILL", "--", *argv]
    process = subprocess.Popen(guarded, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    ends.callback(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(timeout=30)


def _etcd(folder: Path, port: int, peer_port: int) -> list[str]:
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    flags = {
        "data-dir": str(folder / "etcd"),
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "quota-backend-bytes": str(6 << 30),
        "log-level": "warn",
    }
    return ["etcd", *(f"--{name}={value}" for name, value in flags.items())]


def _apiserver(binaries: Path, folder: Path, etcd_port: int, port: int) -> list[str]:
    key = str(folder / "tls.key")
    flags = {
        "etcd-servers": f"http://127.0.0.1:{etcd_port}",
        "bind-address": "127.0.0.1",
        "advertise-address": "127.0.0.1",
        "secure-port": str(port),
        "tls-cert-file": str(folder / "tls.crt"),
        "tls-private-key-file": key,
        "token-auth-file": str(folder / "tokens.csv"),
        "authorization-mode": "RBAC",
        "service-account-issuer": "https://127.0.0.1",
        "service-account-key-file": key,
        "service-account-signing-key-file": key,
        "service-cluster-ip-range": "10.96.0.0/16",
        "endpoint-reconciler-type": "none",
    }
    program = str(binaries / "kube-apiserver")
    return [program, *(f"--{name}={value}" for name, value in flags.items())]


def _credentials(folder: Path, port: int) -> None:
    """A certificate of its own, a token for an administrator, and the kubeconfig with both."""
    (folder / "tokens.csv").write_text(f'{TOKEN},bench,1,"system:masters"\n')
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", "tls.key", "-out", "tls.crt"],
        cwd=folder, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    server = {"server": f"https://127.0.0.1:{port}", "certificate-authority": "tls.crt"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "bench",
        "clusters": [{"name": "bench", "cluster": server}],
        "users": [{"name": "bench", "user": {"token": TOKEN}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
    }
    (folder / "kubeconfig").write_text(json.dumps(config))


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _ready(server: ApiServer) -> bool:
    try:
        return server.get("/readyz") == b"ok"
    except OSError:
        return False
