"""One command in one pod, by websocket, with a deadline.

The kubernetes library's own `stream` swaps methods of a shared client (not safe between threads)
and connects without a time limit, so its websocket library is used directly.
"""

from __future__ import annotations

import ssl
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

import websocket

from unshim.cluster.api import Api, segment
from unshim.errors import ClusterUnavailable

STDOUT, ERROR = 1, 3  # channels: the first byte of each message
SECONDS = 10.0
MOST = 64 * 1024  # bytes of output kept


def run(api: Api, namespace: str, pod: str, command: list[str]) -> str:
    """Standard output of a command. Raises ClusterUnavailable when it did not run, or failed."""
    where = f"exec in pod {namespace}/{pod}"
    api.count("GET pods/exec")
    try:
        socket = _open(api, namespace, pod, command)
        try:
            out, error = _read(socket, time.monotonic() + SECONDS)
        finally:
            socket.close(timeout=1)
    except (websocket.WebSocketException, OSError, ValueError) as exc:
        raise ClusterUnavailable(f"{where}: {exc}") from exc
    if '"Success"' not in error:
        raise ClusterUnavailable(f"{where} failed: {error[:300] or 'no status came back'}")
    return out


def _open(api: Api, namespace: str, pod: str, command: list[str]) -> Any:
    query = [("command", word) for word in command] + [("stdout", "true"), ("stderr", "true")]
    path = f"/api/v1/namespaces/{segment(namespace)}/pods/{segment(pod)}/exec"
    host = str(api.configuration.host).rstrip("/")
    socket: Any = websocket.WebSocket(sslopt=_tls(api.configuration))
    socket.connect(
        host.replace("http", "ws", 1) + path + "?" + urlencode(query),
        timeout=SECONDS,
        header=[f"{name}: {value}" for name, value in api.headers().items()],
        subprotocols=["v4.channel.k8s.io"],
        suppress_origin=True,
        **_proxy(api.configuration),
    )
    return socket


def _proxy(configuration: Any) -> dict[str, Any]:
    """A kubeconfig's own proxy-url; the environment's proxy is found by the websocket library."""
    if not configuration.proxy:
        return {}
    proxy = urlsplit(configuration.proxy)
    return {
        "http_proxy_host": proxy.hostname,
        "http_proxy_port": proxy.port,
        "proxy_type": proxy.scheme,
        "http_no_proxy": [word for word in (configuration.no_proxy or "").split(",") if word],
    }


def _tls(configuration: Any) -> dict[str, Any]:
    """The same trust and the same client certificate as every other request."""
    options: dict[str, Any] = {
        "cert_reqs": ssl.CERT_REQUIRED if configuration.verify_ssl else ssl.CERT_NONE
    }
    if not configuration.verify_ssl:
        options["check_hostname"] = False
    given = {
        "ca_certs": configuration.ssl_ca_cert,
        "certfile": configuration.cert_file,
        "keyfile": configuration.key_file,
        "server_hostname": configuration.tls_server_name,
    }
    return options | {name: value for name, value in given.items() if value}


def _read(socket: Any, deadline: float) -> tuple[str, str]:
    """Output and the closing status, until the server closes or the deadline passes."""
    heard: dict[int, bytes] = {STDOUT: b"", ERROR: b""}
    while (left := deadline - time.monotonic()) > 0:
        socket.settimeout(left)
        try:
            message = socket.recv()
        except websocket.WebSocketConnectionClosedException:
            break
        data = message.encode() if isinstance(message, str) else message
        if not data:
            if not socket.connected:
                break
            continue
        if data[0] in heard and len(heard[data[0]]) < MOST:
            heard[data[0]] += data[1:]
        if data[0] == ERROR:
            break
    return heard[STDOUT].decode("utf-8", "replace"), heard[ERROR].decode("utf-8", "replace")
