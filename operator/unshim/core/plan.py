"""What a run would do to one node, told before it does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MAX_DIFF = 4000  # characters of one step's diffs in a status; the report holds them whole


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One step of a playbook. `state` is "would apply", "already so" or "cannot tell"."""

    step: str
    summary: str
    state: str
    diff: str = ""  # unified, of every file of the step; empty for scripts

    def as_status(self) -> dict[str, str]:
        """The short form that a status carries."""
        cut = len(self.diff) > MAX_DIFF
        diff = f"{self.diff[:MAX_DIFF]}\n(cut: see the report)" if cut else self.diff
        return {"step": self.step, "summary": self.summary, "state": self.state, "diff": diff}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """What a migration of one node would do, and what it would cost.

    `down_seconds` is how long pods that stay on the node are down: (least, most).
    """

    steps: tuple[PlannedStep, ...] = ()
    handover: tuple[tuple[str, int], ...] = ()  # images copied to containerd: name, bytes
    image_bytes: int = 0  # of all of them; layers they share count once an image
    down_seconds: tuple[int, int] | None = None


Plans = Mapping[str, NodePlan]  # by Node name
