"""Putting the Node object right at the end: annotation, uncordon, Lease, closing words."""

from __future__ import annotations

import logging

from unshim.core.decide import CONTAINERD_SOCKET, Decision, Result, View
from unshim.core.objects import CRI_SOCKET_ANNOTATION
from unshim.engine import reporting, telling
from unshim.engine.session import Session
from unshim.engine.tools import Tools, Wait
from unshim.errors import Retryable
from unshim.report.model import found as words

log = logging.getLogger(__name__)


def annotate(tools: Tools, session: Session, view: View, _: Decision) -> Wait | None:
    """kubeadm reads the CRI socket from this annotation at its next upgrade."""
    tools.cluster.annotate(view.node.name, CRI_SOCKET_ANNOTATION, CONTAINERD_SOCKET)
    return None


def restore_annotation(tools: Tools, session: Session, view: View, _: Decision) -> Wait | None:
    tools.cluster.annotate(view.node.name, CRI_SOCKET_ANNOTATION, view.old_cri_socket)
    return None


def uncordon(tools: Tools, session: Session, view: View, _: Decision) -> Wait | None:
    """Give up our cordon; a cordon without our stamp is never touched."""
    if tools.cluster.uncordon(view.node.name, session.run):
        telling.event(tools, session, view.node, "Uncordoned", "unshim released its cordon")
    return None


def leave(tools: Tools, session: Session, *, canary: bool = True) -> None:
    """Remove the canary, close the connection and release the Lease, as well as can be."""
    session.disconnect()
    try:
        if canary:
            tools.cluster.remove_canary(session.options.node, session.run)
        tools.cluster.release_lease(session.options.node, session.holder)
    except Retryable as exc:
        log.info("node %s: left for its expiry: %s", session.options.node, exc)
    session.lease_until = None


def closing(session: Session, view: View, decision: Decision) -> str:
    """The last sentence a person reads about this run."""
    node, detail = view.node.name, session.detail or decision.message
    match decision.result:
        case Result.SUCCEEDED:
            cordon = " It stays cordoned, as it was found." if view.node.unschedulable else ""
            return (
                f"node {node} runs on {view.node.runtime}.{cordon} Docker is stopped, not removed."
                if not session.options.keep_docker
                else f"node {node} runs on {view.node.runtime}.{cordon} Docker was left running."
            )
        case Result.ROLLED_BACK:
            because = f"{decision.reason}: {detail}" if detail else decision.reason
            return f"node {node} is as it was ({view.node.runtime}): {because}"
        case Result.FAILED:
            return (
                f"node {node} could not be brought back: {detail}. It stays cordoned and nothing "
                f"was deleted. Next: unshim journal {node}; see docs/runbook.md."
            )
        case Result.AUDITED:
            found = words(session.findings)
            return f"node {node}: {found}. Nothing was changed.{reporting.pointer(session)}"
    return detail
