"""The shell that runs on nodes, shipped as text."""

from __future__ import annotations

from importlib import resources

RUNNER = "runner.sh"
FACTS = "facts.sh"
PROOF = "proof.sh"


def script(name: str) -> str:
    """The text of one shipped script."""
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
