"""An HTTP proxy for the lab: `python -m tests.lab.proxy LOG`. Ends when its standard input does.

It forwards plain HTTP to the lab's registry, whatever name was asked for, and writes one line for
each request: method, URL, user agent.
"""

from __future__ import annotations

import sys
import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from tests.lab import network

PORT = 3128
HOP_BY_HOP = {"connection", "transfer-encoding", "content-length"}


class Handler(BaseHTTPRequestHandler):
    """One client's requests, each with a connection of its own to the registry."""

    protocol_version = "HTTP/1.1"
    log: Path

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        upstream = HTTPConnection(network.HOST, asked.port or 80, timeout=20)
        path = asked.path + (f"?{asked.query}" if asked.query else "")
        upstream.request(self.command, path, headers=dict(self.headers))
        answer = upstream.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the base class's names

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        del code, size
        with self.log.open("a") as log:
            log.write(f"{self.command} {self.path} {self.headers.get('User-Agent', '')}\n")


def main() -> None:
    Handler.log = Path(sys.argv[1])
    server = ThreadingHTTPServer((network.HOST, PORT), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("serving", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
