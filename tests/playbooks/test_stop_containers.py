"""The step that stops pods' containers, run for real against a `docker` that keeps a list."""

from __future__ import annotations

import os
import subprocess
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


def test_only_containers_of_kubernetes_are_stopped(tmp_path: Path) -> None:
    """Law 3: a container without the label is not even named to docker stop."""
    own = "io.kubernetes.docker.type"
    (tmp_path / "containers").write_text(
        f"aaa {own}=container\nbbb {own}=podsandbox\nlegacy -\nother com.example=1\n"
    )
    for name, text in (("docker", DOCKER), ("systemctl", "#!/bin/sh\nexit 0\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["sh", "-eu", "-c", _apply()],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "UNSHIM_STOP_SECONDS": "1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    stopped = (tmp_path / "containers.stopped").read_text().split()
    assert sorted(stopped) == ["aaa", "bbb"]


def _apply() -> str:
    steps = playbooks.load("docker-to-containerd").steps
    step = next(step for step in steps if step.name == "stop-pod-containers")
    assert isinstance(step, ScriptStep)
    return step.apply
