"""The only place that knows both sides: builds adapters and hands them to the engine."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unshim import node, playbooks, ssh
from unshim.clock import SystemClock
from unshim.cluster import KubernetesCluster, KubernetesMigrations, connect, listing
from unshim.core import resource, status
from unshim.core.decide import Result
from unshim.core.status import Progress
from unshim.engine.engine import Engine
from unshim.engine.session import Session
from unshim.engine.tools import Tools
from unshim.errors import InvalidSpec, Retryable
from unshim.machine import RemoteMachines
from unshim.ports import Clock, Connector, Migrations
from unshim.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything an edge may need."""

    settings: Settings
    cluster: KubernetesCluster
    migrations: KubernetesMigrations
    engine: Engine
    clock: Clock
    ssh_stats: ssh.Stats  # of the engine's own connections


def connector(settings: Settings, stats: ssh.Stats | None = None) -> Connector:
    """Reads the key and the known hosts anew, so that a rotated Secret is used at once."""
    return ssh.SshConnector(
        ssh.load_settings(
            user=settings.ssh_user,
            port=settings.ssh_port,
            key_file=Path(settings.ssh_key_file),
            cert_file=Path(settings.ssh_cert_file) if settings.ssh_cert_file else None,
            known_hosts_file=Path(settings.ssh_known_hosts_file),
            jump=settings.ssh_jump,
        ),
        stats,
    )


def machines(settings: Settings, stats: ssh.Stats | None = None) -> RemoteMachines:
    return RemoteMachines(lambda: connector(settings, stats), settings.address_types)


def parts(settings: Settings, stopping: Callable[[], bool] = lambda: False) -> Parts:
    """Connects to the API server; raises ClusterUnavailable with what to do."""
    api = connect(settings.kubeconfig, settings.context)
    world = KubernetesCluster(
        api,
        lease_namespace=settings.lease_namespace,
        canary_namespace=settings.canary_namespace or settings.namespace,
        report_namespace=settings.namespace,
    )
    clock, stats = SystemClock(), ssh.Stats()
    tools = Tools(
        cluster=world,
        machines=machines(settings, stats),
        playbooks=lambda name: playbooks.load(name, settings.playbook_dir),
        clock=clock,
        runner=node.script(node.RUNNER),
        canary_image=settings.canary_image,
        own_node=settings.node_name,
        stopping=stopping,
    )
    return Parts(
        settings=settings,
        cluster=world,
        migrations=KubernetesMigrations(api),
        engine=Engine(tools),
        clock=clock,
        ssh_stats=stats,
    )


def listed(settings: Settings, targets: tuple[str, ...]) -> listing.Listed:
    """The whole cluster for an audit of `targets` (empty: every node that runs Docker)."""
    api = connect(settings.kubeconfig, settings.context)
    return listing.everything(api, now=SystemClock().now(), targets=targets)


def holder() -> str:
    """This process's name in Leases."""
    return f"{socket.gethostname()}-{os.getpid()}"


class Operator:
    """The runs of NodeMigration objects: sessions by uid, statuses written as they change."""

    def __init__(self, engine: Engine, migrations: Migrations, clock: Clock, name: str) -> None:
        self._engine, self._migrations, self._clock, self._holder = engine, migrations, clock, name
        self._sessions: dict[str, Session] = {}
        self._guard = threading.Lock()

    def tick(self, body: Mapping[str, Any], *, deleting: bool) -> Progress:
        """Move one object's run on. The caller sees to it that no two ticks of it overlap."""
        try:
            wanted = resource.parse(body)
        except InvalidSpec as exc:
            return self._invalid(body, exc)
        session = self._session(wanted)
        if (wanted.roll_back or deleting) and not session.go_back:
            session.go_back = "Deleted" if deleting else "RollbackRequested"
        progress = self._engine.tick(session)
        if progress.finished:
            self._forget(wanted.uid)
        return progress

    def _session(self, wanted: resource.Resource) -> Session:
        with self._guard:
            session = self._sessions.get(wanted.uid)
            if session is None or session.options != wanted.options:
                publish = _Publisher(self._migrations, self._clock, wanted)
                session = Session(
                    run=wanted.uid,
                    options=wanted.options,
                    holder=self._holder,
                    publish=publish,
                    migration=wanted.name,
                )
                self._sessions[wanted.uid] = session
            return session

    def ask_back(self, uid: str, reason: str) -> None:
        """Tell a tick under way in another thread that a person wants to go back."""
        with self._guard:
            session = self._sessions.get(uid)
        if session is not None and not session.go_back:
            session.go_back = reason

    def close(self) -> None:
        """Release every Lease that this process holds, so that the next one need not wait."""
        with self._guard:
            sessions = list(self._sessions.values())
        for session in sessions:
            self._engine.release(session)

    def _forget(self, uid: str) -> None:
        with self._guard:
            self._sessions.pop(uid, None)

    def _invalid(self, body: Mapping[str, Any], exc: InvalidSpec) -> Progress:
        metadata = body["metadata"]
        progress = Progress(
            run=metadata["uid"],
            node=str((body.get("spec") or {}).get("node", "")),
            phase=Result.REFUSED.value,
            reason=exc.reason,
            message=str(exc),
            result=Result.REFUSED,
        )
        write(
            self._migrations,
            metadata["name"],
            status.render(
                progress,
                body.get("status") or {},
                int(metadata.get("generation", 1)),
                self._clock.now(),
            ),
        )
        return progress


class _Publisher:
    """Writes a run's status when it differs from what was written last."""

    def __init__(self, migrations: Migrations, clock: Clock, wanted: resource.Resource) -> None:
        self._migrations, self._clock, self._wanted = migrations, clock, wanted
        self._written: dict[str, Any] = dict(wanted.status)

    def __call__(self, progress: Progress) -> None:
        new = status.render(progress, self._written, self._wanted.generation, self._clock.now())
        if status.differs(new, self._written) and write(self._migrations, self._wanted.name, new):
            self._written = new


def write(migrations: Migrations, name: str, new: Mapping[str, Any]) -> bool:
    """Write a status; a status that cannot be written now is written with the next change."""
    try:
        migrations.patch_status(name, new)
    except Retryable as exc:
        log.info("status of %s not written: %s", name, exc)
        return False
    return True


def operator(settings: Settings, stopping: Callable[[], bool]) -> Operator:
    made = parts(settings, stopping)
    return Operator(made.engine, made.migrations, made.clock, holder())
