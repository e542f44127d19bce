"""A report for a ConfigMap: whole when it fits, and honest about what it lost when it does not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.report.test_renderers import FINDINGS, META, PLANS, finding
from unshim.report import RENDERERS, Plans, kept


def size(texts: Mapping[str, str]) -> int:
    return sum(len(text.encode()) for text in texts.values())


def with_diff(length: int) -> Plans:
    (plan,) = PLANS.values()
    first, *rest = plan.steps
    return {"w1": replace(plan, steps=(replace(first, diff="+ä\n" * (length // 3)), *rest))}


def test_what_fits_is_whole() -> None:
    """Both texts are what `unshim audit` prints, to the letter."""
    texts = kept.keep(FINDINGS, PLANS, META)
    assert texts == {
        "report.json": RENDERERS["json"](FINDINGS, PLANS, META),
        "report.txt": RENDERERS["table"](FINDINGS, PLANS, META),
    }


@pytest.mark.parametrize("length", [300_000, 3_000_000])
def test_diffs_are_cut_first(length: int) -> None:
    """Every finding stays, the limit in bytes is kept, and both texts say what was cut."""
    texts = kept.keep(FINDINGS, with_diff(length), META)
    told = json.loads(texts["report.json"])
    assert size(texts) <= kept.LIMIT
    assert len(told["findings"]) == len(FINDINGS)
    assert told["notes"] == [
        "To keep this report small, diffs were cut to 20000 characters a step."
    ]
    assert "diffs were cut to 20000" in texts["report.txt"]
    assert told["plans"]["w1"]["steps"][0]["diff"].endswith("(cut)\n")


def test_then_the_mildest_findings_go() -> None:
    """More findings than any ConfigMap holds: the gravest stay, and the number left out is true."""
    many = tuple(finding(message=f"{i} " + "m" * 1000) for i in range(3000))
    texts = kept.keep(many, with_diff(3_000_000), META)
    told = json.loads(texts["report.json"])
    assert size(texts) <= kept.LIMIT
    (note,) = told["notes"]
    left = len(told["findings"])
    assert f"{3000 - left} findings were left out" in note
    assert left > 100
    assert [f["message"] for f in told["findings"]] == [f.message for f in many[:left]]
