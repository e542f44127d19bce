"""Events: what `kubectl describe node` shows. Best effort, each told once a process."""

from __future__ import annotations

from unshim.core.objects import Node
from unshim.engine.session import Session
from unshim.engine.tools import Tools


def event(
    tools: Tools, session: Session, node: Node, reason: str, message: str, *, warning: bool = False
) -> None:
    if reason in session.events:
        return
    session.events.add(reason)
    tools.cluster.event(node, reason, message, warning=warning)
