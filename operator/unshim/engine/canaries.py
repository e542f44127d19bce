"""The run's canary pod: made while no kubelet runs, led through its life, gone on any way back."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from unshim.core import images
from unshim.core.journal import StepState
from unshim.core.objects import CanaryResult, Manifest
from unshim.core.options import Options
from unshim.engine.session import Session
from unshim.engine.tools import Tools
from unshim.errors import Retryable

log = logging.getLogger(__name__)

#: The playbook's step after which the old kubelet starts nothing any more.
KUBELET_STOPPED = "stop-kubelet"
NO_CANARY = "-"  # spec.verify.canaryImage of a run that wants none


def image(tools: Tools, options: Options) -> str:
    """The image of a run's canary; empty when there is to be none."""
    wanted = options.verify.canary_image or tools.canary_image
    return "" if wanted == NO_CANARY else wanted


def served(tools: Tools, options: Options, pods: Sequence[Manifest]) -> tuple[Manifest, ...]:
    """The pods whose images the node will need, the canary to come among them."""
    wanted = image(tools, options)
    return (*pods, images.canary_pod(wanted)) if wanted else tuple(pods)


def step(tools: Tools, session: Session) -> CanaryResult | None:
    """Lead it one step on; None when there is to be none."""
    wanted = image(tools, session.options)
    return tools.cluster.canary(session.options.node, session.run, wanted) if wanted else None


def start(tools: Tools, session: Session) -> None:
    """Create it once the old kubelet is stopped, so that the new one finds it when it starts.

    Best effort: the proof creates it otherwise.
    """
    states = session.state.journal.step_states if session.state else {}
    if session.canary_started or states.get(KUBELET_STOPPED) is not StepState.DONE:
        return
    session.canary_started = True
    try:
        step(tools, session)
    except Retryable as exc:
        log.info("node %s: the canary is left to the proof: %s", session.options.node, exc)


def remove(tools: Tools, session: Session) -> None:
    """Delete it before the old kubelet could start it; what fails here, the end of the run does."""
    try:
        tools.cluster.remove_canary(session.options.node, session.run)
    except Retryable as exc:
        log.info("node %s: the canary is left to the run's end: %s", session.options.node, exc)
