"""File steps: backed up, refused when somebody else was there, restored exactly."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.node.scratch import DONE, FAILED, Scratch, nothing_left
from unshim.core import journal


@pytest.mark.parametrize("path", ["etc/flags", "etc/obsolete", "etc/second", "etc/made/deep/conf"])
def test_a_file_changed_since_it_was_planned_stops_the_switch(node: Scratch, path: str) -> None:
    """Before anything is touched; the other person's text survives the rollback, too."""
    node.staged()
    target = node.root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("somebody else's\n")
    before = node.tree()
    assert node.verb("switch", "1", "180").returncode == FAILED
    last = node.state().journal.last(journal.Event.FAILED)
    assert last is not None
    assert f"/{path} has changed since it was planned" in last.detail
    assert node.verb("rollback", "StepFailed").returncode == DONE
    assert node.tree() == before
    assert target.read_text() == "somebody else's\n"
    assert node.events()[-1] == "end"


def test_a_file_changed_after_the_switch_is_kept_beside_the_backup(node: Scratch) -> None:
    """Rollback restores the old text all the same; nobody's work is lost."""
    before = node.tree()
    node.switched()
    (node.root / "etc/flags").write_text("somebody else's\n")
    assert node.verb("rollback", "Asked").returncode == DONE
    assert node.tree() == before
    assert (node.run_folder / "backup/files.0.found").read_text() == "somebody else's\n"


@pytest.mark.parametrize("absolute", [True, False])
def test_a_link_is_put_back_as_a_link(node: Scratch, absolute: bool) -> None:
    """Where a configuration file is a symbolic link, rollback restores the link itself."""
    real = node.root / "etc/real"
    (node.root / "etc/flags").rename(real)
    (node.root / "etc/flags").symlink_to(real if absolute else Path("real"))
    before = node.tree()
    node.switched()
    assert (node.root / "etc/flags").read_text() == "new flags\n"
    assert real.read_text() == "old flags\n"
    assert node.verb("rollback", "Asked").returncode == DONE
    assert node.tree() == before
    assert nothing_left(node)


def test_folders_that_were_there_stay(node: Scratch) -> None:
    """Only folders that the run made are removed, and only when nobody put something in."""
    (node.root / "etc/made").mkdir()
    node.switched()
    (node.root / "etc/made/deep/other").write_text("somebody else's\n")
    node.verb("rollback", "Asked")
    assert (node.root / "etc/made/deep/other").exists()
    assert not (node.root / "etc/made/deep/conf").exists()


def test_what_a_crash_left_half_written_is_cleared_away(node: Scratch) -> None:
    """A temporary file beside its target does not survive the rollback."""
    node.switched()
    (node.root / "etc/flags.unshim-new").write_text("half")
    (node.root / "etc/made/deep/conf.unshim-new").write_text("half")
    node.verb("rollback", "Asked")
    assert nothing_left(node)
    assert not (node.root / "etc/made").exists()


def test_times_and_attributes_come_back(node: Scratch) -> None:
    """Modification time and extended attributes are part of a file."""
    path = node.root / "etc/flags"
    os.utime(path, (1_500_000_000, 1_500_000_000))
    try:
        os.setxattr(path, "user.note", b"kept")
        keeps = True
    except OSError:
        keeps = False  # this file system has none
    node.switched()
    node.verb("rollback", "Asked")
    assert path.stat().st_mtime == 1_500_000_000
    assert not keeps or os.getxattr(path, "user.note") == b"kept"


def test_a_second_switch_keeps_the_oldest_backup(node: Scratch) -> None:
    """A switch cut off after its backups does not take them again from changed files."""
    node.staged()
    backup = node.run_folder / "backup"
    backup.mkdir()
    (backup / "files.0").write_text("the first backup\n")
    node.verb("switch", "1", "180")
    assert (backup / "files.0").read_text() == "the first backup\n"
