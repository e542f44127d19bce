"""What the SSH adapter did, counted: connections and round trips are what its time is made of."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stats:
    """Counters that many connections share. Reading one counter needs no lock."""

    connections: int = 0  # logins that succeeded, jump hosts included
    failures: int = 0  # connection attempts that did not
    execs: int = 0
    sent: int = 0  # bytes of scripts
    received: int = 0  # bytes of output
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(
        self,
        *,
        connections: int = 0,
        failures: int = 0,
        execs: int = 0,
        sent: int = 0,
        received: int = 0,
    ) -> None:
        with self._lock:
            self.connections += connections
            self.failures += failures
            self.execs += execs
            self.sent += sent
            self.received += received
