"""Every case under data/ holds, and laws that hold for all cases."""

from __future__ import annotations

import pytest

from tests.core.edits import cases
from unshim.core import edits
from unshim.core.options import Options
from unshim.errors import UnsupportedNode

OPTIONS = Options(node="w1")
CASES = [case for name in edits.EDITS for case in cases.load(name)]
CHANGING = [case for case in CASES if not case.refuses]


def _named(case: cases.Case) -> str:
    return case.name


@pytest.mark.parametrize("case", CASES, ids=_named)
def test_case(case: cases.Case) -> None:
    """The edit does what the case file promises, to the byte, or refuses with its words."""
    edit = edits.EDITS[case.edit]
    if case.refuses:
        with pytest.raises(UnsupportedNode) as refusal:
            edit(case.facts, OPTIONS)
        for words in ("w1", "Nothing was changed", *case.refuses):
            assert words in str(refusal.value), case.promise
        return
    changes = edit(case.facts, OPTIONS)
    assert {change.path: change.after for change in changes} == case.after, case.promise


@pytest.mark.parametrize("case", CHANGING, ids=_named)
def test_before_is_what_the_facts_say(case: cases.Case) -> None:
    """`before` is the text the facts hold, so that the node can tell whether it still has it."""
    for change in edits.EDITS[case.edit](case.facts, OPTIONS):
        assert change.before == case.facts.files.get(change.path)
        assert change.before != change.after


@pytest.mark.parametrize("case", CHANGING, ids=_named)
def test_no_two_edits_touch_one_file(case: cases.Case) -> None:
    """Each path belongs to one edit: the second would fail, its file no longer as it saw it."""
    paths: list[str] = []
    for edit in edits.EDITS.values():
        try:
            paths += [change.path for change in edit(case.facts, OPTIONS)]
        except UnsupportedNode:
            continue
    assert len(paths) == len(set(paths))
