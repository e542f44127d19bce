"""A node of files: the real runner and the real bundle in a scratch folder, systemd stubbed.

The world that steps change is the folder `root` (by file steps) and `root/service` (by scripts).
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from unshim.core import bundle, runs
from unshim.core.objects import RunState
from unshim.core.steps import FileChange, FileStep, Playbook, ScriptStep, Stage
from unshim.node import RUNNER, script

BIN = Path(__file__).parent / "bin"
RUN = "run-1"
DONE, FAILED, USAGE, BUSY, FOREIGN, LOST = 0, 1, 64, 75, 76, 77

OLD = {"etc/flags": "old flags\n", "etc/obsolete": "to be removed\n"}
NEW = {"etc/flags": "new flags\n", "etc/made/deep/conf": "made\n", "etc/second": "second\n"}


def file_changes() -> dict[str, tuple[FileChange, ...]]:
    """One file changed, one made in folders that do not exist, one removed; one more later."""
    return {
        "files": (
            FileChange(path="/etc/flags", before="old flags\n", after="new flags\n"),
            FileChange(path="/etc/made/deep/conf", before=None, after="made\n", mode=0o600),
            FileChange(path="/etc/obsolete", before="to be removed\n", after=None),
        ),
        "more-files": (FileChange(path="/etc/second", before=None, after="second\n"),),
    }


def service_step(name: str, forward: str, back: str) -> ScriptStep:
    """Writes a word into `service`, or another one on the way back."""
    write = 'printf "%s\\n" {} >"$WORLD/service"; ! [ -e "$WORLD/fail-{}-{}" ]'
    return ScriptStep(
        name=name,
        summary=name,
        apply=write.format(forward, "apply", name),
        undo=write.format(back, "undo", name),
        verify=f'grep -qx {forward} "$WORLD/service" && ! [ -e "$WORLD/fail-verify-{name}" ]',
        timeout=20,
    )


STEPS = (
    ScriptStep(
        name="prepare",
        summary="stage",
        stage=Stage.STAGE,
        check='[ -e "$WORLD/prepared" ]',
        apply=': >"$WORLD/prepared"',
        keep="inert",
    ),
    service_step("stop-old", "stopped", "old"),
    FileStep(name="files", summary="files", edit="e"),
    FileStep(name="nothing", summary="no changes", edit="e"),
    FileStep(name="more-files", summary="more", edit="e"),
    service_step("start-new", "new", "stopped"),
)


def playbook(steps: Sequence[ScriptStep | FileStep] = STEPS) -> Playbook:
    return Playbook(name="test", summary="test", steps=tuple(steps), vars={})


class Scratch:
    """One scratch node with one uploaded run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base, self.root = folder / "lib", folder / "root"
        self.units, self.bin = folder / "units", folder / "bin"
        for path in (self.base, self.root / "etc", self.units, folder / "active"):
            path.mkdir(parents=True)
        shutil.copytree(BIN, self.bin)
        if os.geteuid() != 0:  # giving files to root is for root
            (self.bin / "chown").write_text("#!/bin/sh\n")
            (self.bin / "chown").chmod(0o755)
        for name, text in OLD.items():
            (self.root / name).write_text(text)
        (self.root / "etc/flags").chmod(0o640)
        (self.root / "service").write_text("old\n")
        self.system("running")

    # -- the node ------------------------------------------------------------------------------

    @property
    def run_folder(self) -> Path:
        return self.base / RUN

    def upload(self, steps: Sequence[ScriptStep | FileStep] = STEPS, run: str = RUN) -> None:
        parts = self.parts(steps, run)
        for path, data in parts.items():
            target = self.base / run / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)

    def parts(
        self, steps: Sequence[ScriptStep | FileStep] = STEPS, run: str = RUN
    ) -> dict[str, bytes]:
        variables = {"WORLD": str(self.root)}
        meta = {"node": "scratch", "criSocket": None}
        return bundle.build(run, playbook(steps), file_changes(), variables, meta, script(RUNNER))

    def system(self, word: str) -> None:
        """What systemd says of the machine: `starting` while it boots, then `running`."""
        (self.folder / "system").write_text(word + "\n")

    def boot(self) -> None:
        """Transient units do not survive; the recovery unit runs before anything else."""
        shutil.rmtree(self.folder / "active")
        (self.folder / "active").mkdir()
        self.system("starting")
        if self.recovery_enabled:
            self.verb("recover")
        self.system("running")

    def detach(self) -> None:
        """Services run beside us from now on, as under systemd."""
        (self.folder / "detached").touch()

    @property
    def recovery_enabled(self) -> bool:
        wants = self.units / "multi-user.target.wants" / "unshim-recover.service"
        return wants.exists() and "recover" in wants.read_text()

    @property
    def timer_ticks(self) -> bool:
        return (self.folder / "active" / f"unshim-deadman-{RUN}.timer").exists()

    def asked(self) -> list[str]:
        """What systemd was asked so far."""
        return (self.folder / "asked").read_text().splitlines()

    def tree(self) -> Mapping[str, tuple[str, int, int, str]]:
        """Every file below `root/etc`, folders and links too: kind, mode, owner, content."""
        found = {}
        for path in sorted((self.root / "etc").rglob("*")):
            at = path.lstat()
            text = os.readlink(path) if path.is_symlink() else ""
            text = path.read_text() if path.is_file() and not path.is_symlink() else text
            kind = stat.filemode(at.st_mode)
            found[str(path.relative_to(self.root))] = (kind, at.st_mode, at.st_uid, text)
        return found

    def service(self) -> str:
        return (self.root / "service").read_text().strip()

    # -- the runner ----------------------------------------------------------------------------

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "UNSHIM_PATH": f"{self.bin}:/usr/sbin:/usr/bin:/sbin:/bin",
            "PATH": "/usr/bin:/bin",
            "UNSHIM_UNITS": str(self.units),
            "UNSHIM_ROOT": str(self.root),
            "SCRATCH": str(self.folder),
            **more,
        }

    def argv(self, verb: str, *args: str, run: str = RUN) -> list[str]:
        return ["sh", str(self.base / run / "runner.sh"), verb, *args]

    def verb(
        self, verb: str, *args: str, run: str = RUN, **more: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(verb, *args, run=run),
            env=self.environment(**more),
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
        )

    def state(self) -> RunState:
        return runs.parse_show(self.verb("show").stdout)

    def events(self) -> list[str]:
        """The journal as words: `done files`."""
        return [f"{e.event} {e.step}".strip() for e in self.state().journal.entries]

    def staged(self, steps: Sequence[ScriptStep | FileStep] = STEPS) -> Scratch:
        self.upload(steps)
        assert self.verb("stage", "1").returncode == DONE
        return self

    def switched(self, steps: Sequence[ScriptStep | FileStep] = STEPS) -> Scratch:
        self.staged(steps)
        assert self.verb("switch", "1", "180").returncode == DONE
        assert self.events()[-1] == "switched"
        return self


def nothing_left(node: Scratch) -> bool:
    """No unit, no timer, no claim on the node, no half-written file."""
    halves = [*node.root.rglob("*.unshim-new"), *node.run_folder.glob("verdict.[0-9]*")]
    units = [path for path in node.units.rglob("*") if not path.is_dir()]
    return not (halves or units or node.timer_ticks or (node.base / "current").exists())
