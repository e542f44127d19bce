"""The parts that end containers, run for real against a `docker` or `ctr` that keeps a list."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from unshim import playbooks
from unshim.core.steps import ScriptStep

#: Understands `ps -q|-aq [--no-trunc] [--filter label=K=V|label=K]` and `stop -t N ID…`.
DOCKER = r"""#!/bin/sh
list=$(dirname "$0")/containers
verb=$1
shift
case $verb in
ps)
    wanted=
    for word in "$@"; do case $word in label=*) wanted=${word#label=} ;; esac; done
    case $wanted in
    '') awk '{print $1}' "$list" ;;
    *) awk -v w="$wanted" 'index($2, w) == 1 {print $1}' "$list" ;;
    esac
    ;;
stop)
    shift 2
    for id in "$@"; do
        echo "$id" >>"$list.stopped"
        grep -v "^$id " "$list" >"$list.new" || :
        mv "$list.new" "$list"
    done
    ;;
esac
"""

#: Understands `-n k8s.io containers ls -q|info ID|rm ID` and `… tasks rm -f ID`. `vanishes` is
#: listed and gone when it is to be removed; as it goes, `late` comes.
CTR = r"""#!/bin/sh
list=$(dirname "$0")/containers
drop() { grep -v "^$1$" "$list" >"$list.new" || :; mv "$list.new" "$list"; }
case "$3 $4 $5" in
"containers ls -q") cat "$list" ;;
"containers rm vanishes") drop vanishes; echo late >>"$list"; echo "not found" >&2; exit 1 ;;
"containers rm stays") echo "container stays is busy" >&2; exit 1 ;;
"containers rm"*) drop "$5" ;;
esac
"""
YES = "#!/bin/sh\nexit 0\n"


def test_only_containers_of_kubernetes_are_stopped(tmp_path: Path) -> None:
    """Law 3: a container without the label is not even named to docker stop."""
    own = "io.kubernetes.docker.type"
    (tmp_path / "containers").write_text(
        f"aaa {own}=container\nbbb {own}=podsandbox\nlegacy -\nother com.example=1\n"
    )
    commands = {"docker": DOCKER, "systemctl": YES}
    done = _run(tmp_path, _step("stop-pod-containers").apply, commands, UNSHIM_STOP_SECONDS="1")
    assert done.returncode == 0, done.stderr
    stopped = (tmp_path / "containers.stopped").read_text().split()
    assert sorted(stopped) == ["aaa", "bbb"]


def test_containers_that_go_or_come_meanwhile_do_not_stop_the_way_back(tmp_path: Path) -> None:
    """containerd ends the stopped kubelet's last requests beside us (seen on the lab)."""
    (tmp_path / "containers").write_text("here\nvanishes\nand-this\n")
    done = _undo_start(tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "containers").read_text() == ""


def test_a_container_that_stays_fails_the_way_back_in_its_own_words(tmp_path: Path) -> None:
    """Docker's containers must not start beside containerd's."""
    (tmp_path / "containers").write_text("here\nstays\n")
    done = _undo_start(tmp_path)
    assert done.returncode == 1
    assert "container stays is busy" in done.stderr
    assert (tmp_path / "containers").read_text() == "stays\n"


def _undo_start(folder: Path) -> subprocess.CompletedProcess[str]:
    commands = {"ctr": CTR, "systemctl": YES, "crictl": YES, "sleep": YES}
    variables = {"UNSHIM_BOOTING": "", "UNSHIM_CRI_SOCKET": "/run/containerd/containerd.sock"}
    text = _step("start-containerd").undo
    assert text
    return _run(folder, text, commands, UNSHIM_RUN_DIR=str(folder), **variables)


def _run(
    folder: Path, text: str, commands: Mapping[str, str], **variables: str
) -> subprocess.CompletedProcess[str]:
    for name, source in commands.items():
        (folder / name).write_text(source)
        (folder / name).chmod(0o755)
    return subprocess.run(
        ["sh", "-eu", "-c", text],
        env={"PATH": f"{folder}:{os.environ['PATH']}", **variables},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def _step(name: str) -> ScriptStep:
    steps = playbooks.load("docker-to-containerd").steps
    step = next(step for step in steps if step.name == name)
    assert isinstance(step, ScriptStep)
    return step
