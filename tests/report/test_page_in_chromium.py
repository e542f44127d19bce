"""The HTML page in a real browser: it runs, sorts, filters, changes its colours, and prints."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.report.test_renderers import FINDINGS, META, PLANS
from unshim.report import page, page_parts

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def browse(folder: Path, *options: str) -> tuple[str, str]:
    """The page's document after `script` has run in it, and what the browser logged."""
    (folder / "audit.html").write_text(page.render(FINDINGS, PLANS, META))
    assert CHROMIUM is not None
    common = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    common += [f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr"]
    done = subprocess.run(
        [CHROMIUM, *common, *(options or ("--dump-dom",)), (folder / "audit.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, "\n".join(x for x in done.stderr.splitlines() if "CONSOLE" in x)


def driven(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> str:
    """The document after a person's clicks, written as `script` at the end of the page's own."""
    monkeypatch.setattr(page, "SCRIPT", page_parts.SCRIPT + script)
    text, complaints = browse(folder)
    assert not complaints
    return text


def rules(text: str) -> list[str]:
    """The rules of the visible rows, from top to bottom."""
    rows = re.findall(r"<tr class=\"[^\"]*\" data-word[^>]*>.*?</tr>", text, re.S)
    shown = [row for row in rows if " hidden" not in row.split(">", 1)[0]]
    return [re.findall(r"<code>([^<]*)</code>", row)[0] for row in shown]


def test_page_runs_under_its_own_policy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Style and script are allowed by their hashes, and the browser has nothing to complain of."""
    assert "4 of 4" in driven(monkeypatch, tmp_path, "")


def test_page_filters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Words and severities both narrow the table, and the count follows."""
    script = """
      document.querySelector("#search").value = "ci/runner mounts";
      document.querySelector("input[value=ignored]").checked = false;
      document.querySelector("#search").dispatchEvent(new Event("input"));
    """
    text = driven(monkeypatch, tmp_path, script)
    assert rules(text) == ["docker-socket", "docker-data"]
    assert "2 of 4" in text


def test_page_sorts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A click on a column sorts by it, a second click turns the order round."""
    click = 'document.querySelectorAll("#findings th button")[1].click();'
    text = driven(monkeypatch, tmp_path, click * 2)
    assert rules(text) == ["gpu-node", "docker-socket", "docker-host", "docker-data"]
    assert 'aria-sort="descending"' in text


def test_page_changes_its_colours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The button overrides what the system asks for."""
    text = driven(monkeypatch, tmp_path, 'document.querySelector("#theme").click();')
    assert 'data-theme="dark"' in text


def test_page_prints(tmp_path: Path) -> None:
    """Printing gives a PDF with pages."""
    browse(tmp_path, f"--print-to-pdf={tmp_path / 'audit.pdf'}")
    assert (tmp_path / "audit.pdf").read_bytes().startswith(b"%PDF")
