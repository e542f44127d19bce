"""Writes the pages that are made from the rules: `python -m tests.audit.pages`."""

from __future__ import annotations

import re
from pathlib import Path

from tests.audit import head_to_head
from unshim.audit import RULES
from unshim.report import catalogue

DOCS = Path(__file__).parents[2] / "docs"


def pages() -> dict[Path, str]:
    """Each page with the text it should have; prose between the tables stays as it is."""
    detectors = DOCS / "detectors.md"
    text = detectors.read_text()
    text = _between(text, "agents", catalogue.agents_table())
    text = _between(text, "head-to-head", head_to_head.table())
    return {DOCS / "rules.md": catalogue.rules_page(RULES), detectors: text}


def _between(text: str, name: str, table: str) -> str:
    pattern = rf"(?s)(<!-- {name} -->\n).*?(\n<!-- end -->)"
    return re.sub(pattern, lambda found: f"{found[1]}{table}{found[2]}", text)


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
