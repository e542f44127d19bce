"""The bundle: its parts, its checksums, and scripts that only ever hold what was checked."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unshim.core import bundle
from unshim.core.steps import FileChange, FileStep, Playbook, ScriptStep, Stage

STEPS = (
    ScriptStep(name="ready", summary="s", stage=Stage.STAGE, apply="true", keep="k", timeout=7),
    FileStep(name="files", summary="f", edit="e"),
    ScriptStep(name="start", summary="s", apply="go", check="is", verify="was", undo="back"),
)
PLAYBOOK = Playbook(name="p", summary="p", steps=STEPS, vars={"FIRST": "1", "BOTH": "playbook"})
CHANGES = {
    "files": (
        FileChange(path="/etc/a b", before="old", after="new", mode=0o640),
        FileChange(path="/etc/gone", before="x", after=None),
        FileChange(path="/etc/made", before=None, after="é\n"),
    )
}


def parts(**more: str) -> dict[str, bytes]:
    return bundle.build("r1", PLAYBOOK, CHANGES, more, {"node": "n"}, "#!/bin/sh\n")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_every_part_is_there_under_its_name() -> None:
    """Exactly the files that the runner's contract names, and none more."""
    assert sorted(parts()) == [
        "env", "manifest", "meta.json", "order", "runner.sh", "steps/files/files",
        "steps/files/new.0", "steps/files/new.2", "steps/ready/apply", "steps/start/apply",
        "steps/start/check", "steps/start/undo", "steps/start/verify",
    ]  # fmt: skip


def test_the_order_is_the_playbooks() -> None:
    """One line a step: stage, name, kind, time limit in seconds."""
    assert parts()["order"].decode().splitlines() == [
        "stage ready script 7",
        "switch files file 60",
        "switch start script 60",
    ]


def test_files_carry_the_sums_before_and_after() -> None:
    """`absent` where a file is not there; the path comes last, so that it may hold blanks."""
    assert parts()["steps/files/files"].decode().splitlines() == [
        f"0 640 {digest('old')} {digest('new')} /etc/a b",
        f"1 644 {digest('x')} absent /etc/gone",
        f"2 644 absent {digest('é' + chr(10))} /etc/made",
    ]


def test_the_nodes_variables_win_over_the_playbooks() -> None:
    """A playbook's vars are defaults."""
    env = parts(BOTH="node's own")["env"].decode()
    assert env == "export BOTH='node'\"'\"'s own'\nexport FIRST=1\n"


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8")))
def test_no_value_can_become_a_command(value: str) -> None:
    """Whatever a node's fact holds, the shell reads exactly that text back."""
    script = bundle.environment({"VALUE": value}) + 'printf %s "$VALUE"'
    done = subprocess.run(["sh"], input=script.encode(), capture_output=True, check=True)
    assert done.stdout.decode() == value


@pytest.mark.parametrize("name", ["x", "A-B", "A B", "", "1A", "A;id"])
def test_bad_variable_names_are_refused(name: str) -> None:
    """A name is never quoted, so it must be plain."""
    with pytest.raises(ValueError, match="not a variable name"):
        bundle.environment({name: "v"})


@pytest.mark.parametrize("path", ["etc/relative", "/etc/two\nlines"])
def test_bad_paths_are_refused(path: str) -> None:
    """One line per file, absolute."""
    changes = {"files": (FileChange(path=path, before=None, after="x"),)}
    with pytest.raises(ValueError, match="not an absolute path"):
        bundle.build("r1", PLAYBOOK, changes, {}, {}, "")


@pytest.mark.parametrize("run", ["", "../up", "A", "a b", "-a", "a/b", "a" * 65, "$(id)"])
def test_bad_names_of_runs_are_refused(run: str) -> None:
    """A run's name is part of a path, so it is checked wherever it is used."""
    with pytest.raises(ValueError, match="not a run's name"):
        bundle.build(run, PLAYBOOK, CHANGES, {}, {}, "")
    with pytest.raises(ValueError, match="not a run's name"):
        bundle.upload_script(run, {})
    with pytest.raises(ValueError, match="not a run's name"):
        bundle.verb_script(run, "show")


@pytest.mark.parametrize(
    "words", [("destroy",), ("stage", "1; reboot"), ("rollback", "two words"), ("wait", "")]
)
def test_bad_verbs_and_arguments_are_refused(words: tuple[str, ...]) -> None:
    """Only the runner's verbs, only letters and digits."""
    with pytest.raises(ValueError, match="not a verb"):
        bundle.verb_script("r1", *words)


def test_the_internal_verbs_are_not_for_the_operator() -> None:
    """`run`, `undo` and `recover` belong to systemd on the node."""
    for verb in ("run", "undo", "recover"):
        with pytest.raises(ValueError, match="not a verb"):
            bundle.verb_script("r1", verb)


def test_a_run_that_is_not_there_answers_with_the_clock(tmp_path: Path) -> None:
    """Asking about a run that never reached the node is no error."""
    done = sh(bundle.verb_script("r1", "show"), tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("now ")


# -- upload ---------------------------------------------------------------------------------------


def sh(script: str, base: Path) -> subprocess.CompletedProcess[str]:
    """A script of ours with its folder moved into a scratch one."""
    moved = script.replace(bundle.BASE, str(base))
    return subprocess.run(["sh"], input=moved, text=True, capture_output=True, check=False)


def test_an_upload_arrives_whole_and_private(tmp_path: Path) -> None:
    """Every part byte for byte, readable by root alone."""
    base = tmp_path / "lib"
    assert sh(bundle.upload_script("r1", parts()), base).returncode == 0
    for path, data in parts().items():
        assert (base / "r1" / path).read_bytes() == data
    assert [p.stat().st_mode & 0o077 for p in (base, base / "r1", base / "r1/env")] == [0, 0, 0]
    assert not (base / "r1.new").exists()


def test_an_upload_can_be_repeated(tmp_path: Path) -> None:
    """Until a run begins its bundle is replaced; afterwards it is kept, with what the run made."""
    first, second = parts(WHICH="first"), parts(WHICH="second")
    for bundled in (first, second):
        assert sh(bundle.upload_script("r1", bundled), tmp_path).returncode == 0
        assert (tmp_path / "r1/env").read_bytes() == bundled["env"]
    (tmp_path / "r1/journal").write_text("begun\n")
    assert sh(bundle.upload_script("r1", first), tmp_path).returncode == 0
    assert (tmp_path / "r1/env").read_bytes() == second["env"]
    assert (tmp_path / "r1/journal").exists()


def test_a_damaged_upload_is_refused(tmp_path: Path) -> None:
    """A part that does not match its checksum puts nothing in place."""
    damaged = {**parts(), "env": b"export EVIL=1\n"}
    assert sh(bundle.upload_script("r1", damaged), tmp_path).returncode != 0
    assert not (tmp_path / "r1").exists()


def test_an_upload_cut_off_leaves_nothing_in_place(tmp_path: Path) -> None:
    """The connection breaks within the archive: no run appears; the next attempt succeeds."""
    whole = bundle.upload_script("r1", parts())
    assert sh(whole[: len(whole) // 2], tmp_path).returncode != 0
    assert not (tmp_path / "r1").exists()
    assert sh(whole, tmp_path).returncode == 0


def test_the_archive_is_reproducible() -> None:
    """The same bundle is the same script, so that a repeated upload is the same text."""
    assert bundle.upload_script("r1", parts()) == bundle.upload_script("r1", parts())
    with tarfile.open(fileobj=io.BytesIO(bundle._tar(parts()))) as tar:
        assert {(member.uid, member.mtime, member.mode) for member in tar} == {(0, 0, 0o600)}


# -- checks of a dry run --------------------------------------------------------------------------


def test_checks_answer_by_step(tmp_path: Path) -> None:
    """Each check's own exit code; one that fails or prints does not disturb the others."""
    steps = (
        ScriptStep(name="so", summary="s", apply="x", check='echo noise; [ "$A" = 1 ]', keep="k"),
        ScriptStep(name="not-so", summary="s", apply="x", check="exit 1", keep="k"),
        ScriptStep(name="unsure", summary="s", apply="x", check="no-such-command", keep="k"),
        ScriptStep(name="none", summary="s", apply="x", keep="k"),
    )
    done = sh(bundle.checks_script(steps, {"A": "1"}), tmp_path)
    assert bundle.parse_checks(done.stdout) == {"so": 0, "not-so": 1, "unsure": 127}


def test_noise_is_no_check() -> None:
    """A banner of the node's login shell is passed over."""
    assert bundle.parse_checks("Welcome to worker-1\n\nso 0\nbad x\n") == {"so": 0}
