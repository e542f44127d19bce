"""Plain JSON requests to the API server: credentials, timeouts, bounded retries, error words.

Reads and patches are repeated on passing errors; a POST or DELETE never is. No foreign exception
leaves this module.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlencode

import kubernetes
import tenacity
import urllib3
from kubernetes.config.config_exception import ConfigException

from unshim.errors import ClusterUnavailable, Forbidden, Refused

MERGE_PATCH = "application/merge-patch+json"
CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
RETRY_SECONDS = 15.0  # no further try of one request after this long
CONNECTIONS = 64  # kept open, for that many threads
PAGE = 500  # objects per page of a list
PASSING = frozenset({429, 500, 502, 503, 504})
LONGEST_PAUSE = 5.0  # seconds; a longer Retry-After is cut


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer. `date` is the server's clock."""

    status: int
    text: str = ""
    is_json: bool = False
    retry_after: float = 0.0
    date: datetime | None = None

    @cached_property
    def body(self) -> Mapping[str, Any]:
        """The JSON object, or {} when it is none. Read when it is first asked for."""
        try:
            found = json.loads(self.text) if self.is_json else {}
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def message(self) -> str:
        said = str(self.body.get("message") or self.text or "no explanation").strip()
        return said if len(said) <= 300 else said[:299] + "…"


class _PassingError(Exception):
    """A reply worth asking again for."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.message)
        self.reply = reply


class Api:
    """One connection pool to one API server; safe to share between threads.

    `stats` counts requests by verb and resource, such as "GET nodes"; repeats count too.
    """

    def __init__(self, client: Any, *, attempts: int = 4, pause: float = 0.2) -> None:
        self.configuration = client.configuration
        self._pool = client.rest_client.pool_manager
        self._attempts, self._pause = attempts, pause
        self._guard = threading.Lock()
        self.stats: Counter[str] = Counter()

    def get(self, path: str, **query: str | int) -> Reply:
        """Repeated on passing errors. Raises ClusterUnavailable, Forbidden; 404 is returned."""
        return self._patiently("GET", path, query=query)

    def patch(self, path: str, body: Mapping[str, Any]) -> Reply:
        """A merge patch, repeated on passing errors; 404, 409 and 422 are returned."""
        return self._patiently("PATCH", path, body=body)

    def post(
        self, path: str, body: Mapping[str, Any], *, read_seconds: float = READ_SECONDS
    ) -> Reply:
        """Sent once. Every answer is returned; raises ClusterUnavailable when there is none."""
        return self._send("POST", path, {}, body, read_seconds)

    def put(self, path: str, body: Mapping[str, Any]) -> Reply:
        """Sent once, like `post`."""
        return self._send("PUT", path, {}, body, READ_SECONDS)

    def delete(self, path: str, body: Mapping[str, Any]) -> Reply:
        """Sent once, like `post`."""
        return self._send("DELETE", path, {}, body, READ_SECONDS)

    def items(self, path: str, **query: str | int) -> Iterator[Mapping[str, Any]]:
        """Every object of a list, read page by page."""
        token = ""
        while True:
            page: dict[str, str | int] = {"limit": PAGE, **({"continue": token} if token else {})}
            # An expired page token (410) ends in ClusterUnavailable: the next tick lists anew.
            reply = expect(self.get(path, **{**query, **page}), f"list {path}")
            yield from reply.body.get("items") or ()
            token = str((reply.body.get("metadata") or {}).get("continue") or "")
            if not token:
                return

    def count(self, what: str) -> None:
        with self._guard:
            self.stats[what] += 1

    def headers(self) -> dict[str, str]:
        """Credentials for one request; the token of a mounted ServiceAccount is read anew."""
        bearer = (self.configuration.auth_settings().get("BearerToken") or {}).get("value")
        return {"authorization": str(bearer)} if bearer else {}

    def _patiently(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Reply:
        again = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self._attempts)
            | tenacity.stop_after_delay(RETRY_SECONDS),
            wait=self._wait,
            retry=tenacity.retry_if_exception(_passes),
            sleep=time.sleep,
            reraise=True,
        )
        try:
            return again(self._once, method, path, query or {}, body)
        except _PassingError as exc:
            raise _unavailable(self._host, method, path, exc.reply) from None

    def _once(
        self, method: str, path: str, query: Mapping[str, str | int], body: Mapping[str, Any] | None
    ) -> Reply:
        reply = self._send(method, path, query, body, READ_SECONDS)
        if reply.status in PASSING or reply.status == 401:
            raise _PassingError(reply)
        if reply.status == 403:
            raise _forbidden(self._host, method, path, reply)
        return reply

    def _wait(self, state: tenacity.RetryCallState) -> float:
        grown = self._pause * 2.0 ** (state.attempt_number - 1)
        failure = state.outcome.exception() if state.outcome else None
        asked = failure.reply.retry_after if isinstance(failure, _PassingError) else 0.0
        return min(max(grown, asked), LONGEST_PAUSE)

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int],
        body: Mapping[str, Any] | None,
        read_seconds: float,
    ) -> Reply:
        self.count(f"{method} {_resource(path)}")
        url = self._host + path + ("?" + urlencode(query) if query else "")
        headers = {"accept": "application/json", "user-agent": "unshim", **self.headers()}
        if body is not None:
            headers["content-type"] = MERGE_PATCH if method == "PATCH" else "application/json"
        try:
            answer = self._pool.request(
                method,
                url,
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=read_seconds),
                retries=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as exc:
            raise ClusterUnavailable(
                f"the API server {self._host} did not answer {method} {path}: {exc}. "
                "It is asked again on the next tick."
            ) from exc
        return _reply(answer)

    @property
    def _host(self) -> str:
        return str(self.configuration.host).rstrip("/")


def connect(kubeconfig: str = "", context: str = "") -> Api:
    """The API server of a kubeconfig, or of the pod this runs in. Asks the server nothing yet.

    Raises Refused when no usable configuration is found.
    """
    try:
        return Api(_client(kubeconfig, context))
    except (ConfigException, OSError, ValueError) as exc:
        raise Refused(
            f"no usable Kubernetes configuration: {exc}. Set KUBECONFIG, or run in a pod with a "
            "ServiceAccount. Nothing was changed."
        ) from exc


def _client(kubeconfig: str, context: str) -> Any:
    sources: Any = kubernetes.config  # untyped functions in a typed package
    configuration = kubernetes.client.Configuration()
    configuration.connection_pool_maxsize = CONNECTIONS
    configuration.keep_alive = True  # a connection to a machine that vanished is noticed
    try:
        if kubeconfig or context:
            raise ConfigException("a kubeconfig was named")
        sources.load_incluster_config(client_configuration=configuration)
    except ConfigException:  # not in a pod: the kubeconfig of the person who runs us
        sources.load_kube_config(
            config_file=kubeconfig or None,
            context=context or None,
            client_configuration=configuration,
            persist_config=False,
        )
    return kubernetes.client.ApiClient(configuration)


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


def expect(reply: Reply, what: str) -> Reply:
    """Raise ClusterUnavailable or Forbidden unless the reply is a success."""
    if reply.ok:
        return reply
    if reply.status == 403:
        raise Forbidden(f"the API server forbids: {what}: {reply.message}")
    raise ClusterUnavailable(f"{what}: the API server answered {reply.status}: {reply.message}")


def _reply(answer: Any) -> Reply:
    return Reply(
        status=answer.status,
        text=answer.data.decode("utf-8", "replace"),
        is_json="json" in answer.headers.get("content-type", ""),
        retry_after=_seconds(answer.headers.get("retry-after", "")),
        date=_date(answer.headers.get("date", "")),
    )


def _seconds(text: str) -> float:
    return float(text) if text.isdigit() else 0.0


def _date(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except (ValueError, TypeError):
        return None


def _resource(path: str) -> str:
    """`/api/v1/namespaces/a/pods/b/eviction` -> `pods/eviction`, for counting."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if len(parts) > 2 and parts[0] == "namespaces":
        parts = parts[2:]
    return "/".join(parts[::2]) or "discovery"


def _passes(exc: BaseException) -> bool:
    passing = isinstance(exc, _PassingError | ClusterUnavailable)
    return passing and not isinstance(exc, Forbidden)


def _unavailable(host: str, method: str, path: str, reply: Reply) -> ClusterUnavailable:
    return ClusterUnavailable(
        f"the API server {host} answered {reply.status} to {method} {path}: {reply.message}. "
        "It is asked again on the next tick."
    )


def _forbidden(host: str, method: str, path: str, reply: Reply) -> Forbidden:
    """Retryable: a server that has just started says 403 until it has read its roles."""
    return Forbidden(
        f"the API server {host} forbids {method} {path}: {reply.message}. If this lasts, compare "
        "the ClusterRole with the chart's."
    )
