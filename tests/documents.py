"""The commands that our documents tell people to type, to be run as they stand."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def readme(first: str) -> list[str]:
    """The README's code block whose first command begins with `first`, one command a line."""
    parts = (ROOT / "README.md").read_text().split("```")
    (block,) = [part for part in parts[1::2] if part.lstrip().startswith(first)]
    return [line.strip() for line in block.replace("\\\n", " ").strip().splitlines()]


def indented(text: str) -> str:
    """The lines that a text sets off by two spaces, as one script."""
    return "\n".join(line[2:] for line in text.splitlines() if line.startswith("  "))
