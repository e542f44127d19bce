"""The shipped playbook: it loads, its scripts are sound, and it obeys the laws of steps."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from unshim import playbooks
from unshim.core import edits
from unshim.core.options import Options
from unshim.core.steps import FileStep, Playbook, ScriptStep
from unshim.errors import InvalidPlaybook

PLAYBOOK = playbooks.load(Options(node="n").playbook)
PARTS = [
    (step.name, part, getattr(step, part))
    for step in PLAYBOOK.steps
    if isinstance(step, ScriptStep)
    for part in ("check", "apply", "verify", "undo")
    if getattr(step, part)
]
IDS = [f"{name}-{part}" for name, part, _ in PARTS]
NAMES = [step.name for step in PLAYBOOK.steps]


@pytest.mark.parametrize(("name", "part", "text"), PARTS, ids=IDS)
def test_every_script_is_clean(name: str, part: str, text: str) -> None:
    """shellcheck finds nothing, with the variables that the runner exports as given."""
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    # 2154: set by the environment. 2086, 2013: lists of words on purpose. 2034: read names fields.
    # 2015: `a && b || leave` is meant as it reads
    done = subprocess.run(
        ["shellcheck", "-s", "sh", "-e", "SC2154,SC2086,SC2013,SC2015,SC2034", "-"],
        input=f"set -eu\n{text}", text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{name} {part}:\n{done.stdout}"


@pytest.mark.parametrize(("name", "part", "text"), PARTS, ids=IDS)
def test_scripts_write_nothing_below_etc(name: str, part: str, text: str) -> None:
    """Files are changed by file steps, which are backed up and undone; scripts drive services."""
    writes = re.findall(r"(?:>>?|\b(?:cp|mv|rm|tee|sed -i|install|ln)\b[^\n|;]*)\s*/etc/\S*", text)
    copies_from = [w for w in writes if w.startswith("cp -a /etc/containerd/certs.d")]
    assert writes == copies_from, f"{name} {part}"


@pytest.mark.parametrize("text", [text for _, _, text in PARTS], ids=IDS)
def test_scripts_know_only_variables_that_are_given(text: str) -> None:
    """Every UNSHIM_ name is one that `edits.variables` or the runner exports."""
    source = Path(edits.__file__).read_text(encoding="utf-8")
    given = {*re.findall(r'"(UNSHIM_[A-Z_]+)"', source), "UNSHIM_RUN_DIR", "UNSHIM_BOOTING"}
    assert set(re.findall(r"UNSHIM_[A-Z_]+", text)) <= given


@pytest.mark.parametrize("word", ["docker rm", "prune", "rm -rf /var/lib/docker", "apt-get purge"])
def test_nothing_destroys_what_a_rollback_needs(word: str) -> None:
    """Docker's containers, images, data and packages stay."""
    assert not [f"{name} {part}" for name, part, text in PARTS if word in text]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("stop-kubelet", "note-units"),
        ("note-units", "stop-docker"),
        ("settle-units", "containerd-config"),
        ("stop-kubelet", "stop-pod-containers"),
        ("stop-pod-containers", "clear-log-links"),
        ("stop-pod-containers", "start-containerd"),
        ("clear-log-links", "start-kubelet"),
        ("kubelet-flags", "guard-socket"),
        ("guard-socket", "start-kubelet"),
        ("start-containerd", "start-kubelet"),
    ],
)
def test_the_order_that_keeps_a_node_safe(earlier: str, later: str) -> None:
    """Forward as written; rollback reads the same list up, so this is its order, too."""
    assert NAMES.index(earlier) < NAMES.index(later)


def test_files_lie_between_the_steps_that_make_them_count() -> None:
    """Undone in reverse: files first, then the services that read them."""
    files = [i for i, step in enumerate(PLAYBOOK.steps) if isinstance(step, FileStep)]
    assert NAMES.index("settle-units") < min(files)
    assert max(files) < NAMES.index("start-containerd")


def test_every_edit_has_its_step() -> None:
    """No edit of a node's files is forgotten, none comes twice."""
    used = [step.edit for step in PLAYBOOK.steps if isinstance(step, FileStep)]
    assert sorted(used) == sorted(edits.EDITS)


def test_an_unknown_playbook_is_named(tmp_path: Path) -> None:
    """Which file was looked for, and what became of it."""
    with pytest.raises(InvalidPlaybook, match=r"playbook nope: .*nope\.yaml cannot be read"):
        playbooks.load("nope", str(tmp_path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "is not YAML"),
        ("!!python/object/apply:os.system ['id']", "is not YAML"),
        ("kind: Playbook\n", "apiVersion is None"),
        ("\x00", "is not YAML"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    """File and reason; YAML tags run nothing."""
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InvalidPlaybook, match=rf"playbook mine: .*{said}"):
        playbooks.load("mine", str(tmp_path))


def test_a_mounted_folder_is_used(tmp_path: Path) -> None:
    """An admin's own playbook takes the place of the shipped ones."""
    shipped = playbooks.SOURCE_TREE / "docker-to-containerd.yaml"
    (tmp_path / "ours.yaml").write_text(
        shipped.read_text().replace("name: docker-to-containerd", "name: ours")
    )
    found: Playbook = playbooks.load("ours", str(tmp_path))
    assert found.name == "ours"
    assert found.steps == PLAYBOOK.steps
