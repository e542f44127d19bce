"""What the engine's actions are given: ports, the clock, and a few settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from unshim.core.decide import Decision, View
from unshim.core.steps import Playbook
from unshim.engine.session import Session
from unshim.ports import Clock, Cluster, Machines

LEASE_SECONDS = 20  # what a killed operator keeps others waiting; fencing guards the node


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Made once by `wiring`. `playbooks` loads one by name; raises InvalidPlaybook."""

    cluster: Cluster
    machines: Machines
    playbooks: Callable[[str], Playbook]
    clock: Clock
    runner: str  # text of the node's runner
    canary_image: str = ""  # empty: no canary pod
    own_node: str = ""  # the node this process runs on
    stopping: Callable[[], bool] = lambda: False  # the process was asked to end


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do for `seconds`; `message` says what is waited for."""

    seconds: float
    message: str = ""


Performer = Callable[[Tools, Session, View, Decision], Wait | None]
Performers = Mapping[str, Performer]
