"""kopf edge, thin: one timer moves unfinished runs on, deletion rolls back what is unfinished.

Handlers are plain functions: kopf runs them in threads and shields those from cancellation, and
everything below blocks (paramiko, kubernetes). Progress annotations of kopf hold nothing we need.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import kopf

from unshim import wiring
from unshim.core import resource
from unshim.core.status import Progress
from unshim.settings import Settings

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
STOP_SECONDS = 15.0  # a tick in one of its longer waits; a pod has 30 s to end


class Runs:
    """The runs of this process, one lock each, so that a deletion never overlaps a tick."""

    def __init__(self, settings: Settings) -> None:
        self._stopping = threading.Event()
        self._operator = wiring.operator(settings, self._stopping.is_set)
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    def tick(self, body: Mapping[str, Any], *, deleting: bool) -> Progress | None:
        """One tick, or None when another thread is at work on this run, or we are stopping."""
        if self._stopping.is_set():
            return None
        uid = body["metadata"]["uid"]
        if deleting:
            self._operator.ask_back(uid, "Deleted")
        with self._guard:
            lock = self._locks.setdefault(uid, threading.Lock())
        if not lock.acquire(blocking=False):
            return None
        try:
            return self._operator.tick(body, deleting=deleting)
        finally:
            lock.release()

    def stop(self) -> None:
        """End the ticks under way, then give up every Lease. Runs stay where they are."""
        self._stopping.set()
        for lock in list(self._locks.values()):
            lock.acquire(timeout=STOP_SECONDS)
        self._operator.close()


def unfinished(body: kopf.Body, **_: object) -> bool:
    """False once this generation of the spec has come to an end."""
    status = body.get("status") or {}
    done = status.get("phase") in resource.FINISHED_PHASES
    return not (done and status.get("observedGeneration") == body["metadata"].get("generation"))


def register(registry: kopf.OperatorRegistry, settings: Settings) -> None:
    """Attach every handler to `registry`."""
    kind = (resource.GROUP, resource.VERSION, resource.PLURAL)

    @kopf.on.startup(registry=registry)
    def configure(memo: kopf.Memo, **kwargs: Any) -> None:
        memo.runs = Runs(settings)
        _configure(kwargs["settings"], settings)

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> Any:
        return kopf.login_via_client(**kwargs)

    @kopf.on.cleanup(registry=registry)
    def stop(memo: kopf.Memo, **_: object) -> None:
        memo.runs.stop()

    @kopf.timer(*kind, registry=registry, interval=TICK_SECONDS, when=unfinished)
    def reconcile(body: kopf.Body, memo: kopf.Memo, **_: object) -> None:
        memo.runs.tick(body, deleting=False)

    @kopf.on.delete(*kind, registry=registry, when=unfinished)
    def deleted(body: kopf.Body, memo: kopf.Memo, **_: object) -> None:
        progress = memo.runs.tick(body, deleting=True)
        if progress is None or not progress.finished:
            raise kopf.TemporaryError("rolling back before the object goes", delay=TICK_SECONDS)


def _configure(kopf_settings: kopf.OperatorSettings, settings: Settings) -> None:
    """Explicit where kopf's default would write into our status or wait too long."""
    kopf_settings.execution.executor = ThreadPoolExecutor(max_workers=settings.workers + 8)
    kopf_settings.persistence.finalizer = "unshim.dev/rollback"
    kopf_settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(
        prefix="unshim.dev"
    )
    kopf_settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(
        prefix="unshim.dev"
    )
    kopf_settings.posting.enabled = False  # our own events say more than log lines
    kopf_settings.networking.connect_timeout = 10
    kopf_settings.networking.request_timeout = 30
    kopf_settings.watching.server_timeout = 300
    kopf_settings.watching.client_timeout = 330


@contextmanager
def quiet(logger: str) -> Iterator[None]:
    """Lower a chatty library's logger while we run."""
    chatty = logging.getLogger(logger)
    before = chatty.level
    chatty.setLevel(logging.WARNING)
    try:
        yield
    finally:
        chatty.setLevel(before)


def run(settings: Settings, liveness: str) -> None:
    """Run the operator until it is told to stop. Standalone: our own Lease guards each node."""
    registry = kopf.OperatorRegistry()
    register(registry, settings)
    identity: Any = wiring.holder()  # a type that kopf keeps to itself
    with quiet("kopf.objects"), quiet("paramiko"):
        kopf.run(
            registry=registry,
            clusterwide=True,
            standalone=True,
            # kopf's default asks for the user's name; a pod's user id has none
            identity=identity,
            liveness_endpoint=liveness or None,
            memo=kopf.Memo(),
        )
