"""The documentation says what the code does."""

from __future__ import annotations

import pytest

from tests.audit import head_to_head, pages


@pytest.mark.parametrize("name", ["rules.md", "detectors.md"])
def test_pages_are_current(name: str) -> None:
    """The generated pages are those of today's rules; `python -m tests.audit.pages` writes them."""
    wanted = {path.name: text for path, text in pages.pages().items()}
    assert (pages.DOCS / name).read_text() == wanted[name]


def test_nothing_is_missed_and_nothing_is_made_up() -> None:
    """Over all cases about workloads the audit finds every one, and raises no wrong alarm."""
    scores = head_to_head.scores().values()
    assert sum(score.found for score in scores) == sum(score.cases for score in scores)
    assert not any(score.alarms for score in scores)


def test_the_substring_finds_less() -> None:
    """A single substring misses cases and raises wrong alarms: the comparison is not for show."""
    scores = head_to_head.scores().values()
    assert sum(s.substring_found for s in scores) < sum(s.cases for s in scores) / 2
    assert sum(s.substring_alarms for s in scores) > 0
