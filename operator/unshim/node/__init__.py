"""The shell that runs on nodes, shipped as text."""

from __future__ import annotations

from importlib import resources

RUNNER = "runner"
FACTS = "facts.sh"
PROOF = "proof.sh"
RESOLVE = "resolve.sh"


def script(name: str) -> str:
    """The text of one shipped script; a folder's parts make one script, in their order."""
    place = resources.files(__name__).joinpath(name)
    if place.is_file():
        return place.read_text(encoding="utf-8")
    parts = sorted((p for p in place.iterdir() if p.name.endswith(".sh")), key=lambda p: p.name)
    return "".join(part.read_text(encoding="utf-8") for part in parts)
