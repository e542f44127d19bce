"""The parts that end containers, run for real against a `docker` or `ctr` that keeps a list."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

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

#: Understands `-n k8s.io containers ls -q|info ID|rm ID|create --config FILE ID` and
#: `… tasks ls -q|rm -f ID`. `vanishes` is listed and gone when it is to be removed; as it goes,
#: `late` comes. `alone` is a task without container, and cannot be removed without one.
CTR = r"""#!/bin/sh
list=$(dirname "$0")/containers
drop() { grep -v "^$1$" "$list" >"$list.new" || :; mv "$list.new" "$list"; }
case "$3 $4 $5" in
"containers ls -q") grep -v '^alone$' "$list" || : ;;
"tasks ls -q") cat "$list" ;;
"containers info alone") [ -e "$list.made" ] ;;
"containers create --config") [ "$7" != alone ] || touch "$list.made" ;;
"tasks rm -f") [ "$6" != alone ] || [ ! -e "$list.made" ] || drop alone ;;
"containers rm alone") echo "not found" >&2; exit 1 ;;
"containers rm vanishes") drop vanishes; echo late >>"$list"; echo "not found" >&2; exit 1 ;;
"containers rm stays") echo "container stays is busy" >&2; exit 1 ;;
"containers rm"*) drop "$5" ;;
esac
"""
YES = "#!/bin/sh\nexit 0\n"
SAYS = '#!/bin/sh\necho "$(basename "$0") $*" >>"$(dirname "$0")/calls"\n'


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


@pytest.mark.parametrize(
    "there",
    [
        pytest.param("here\nvanishes\nand-this\n", id="some go or come meanwhile"),
        pytest.param("alone\n", id="a task that has lost its container"),
    ],
)
def test_nothing_of_kubernetes_is_left_in_containerd(tmp_path: Path, there: str) -> None:
    """containerd ends the stopped kubelet's last requests beside us (seen on the lab)."""
    (tmp_path / "containers").write_text(there)
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


def test_requests_under_way_end_before_anything_is_removed(tmp_path: Path) -> None:
    """A container that the old request makes after the sweep would run beside Docker's."""
    (tmp_path / "containers").write_text("here\n")
    done = _undo_start(tmp_path, systemctl=SAYS, crictl=SAYS)
    assert done.returncode == 0, done.stderr
    calls = [line.split()[:2] for line in (tmp_path / "calls").read_text().splitlines()]
    assert calls == [["systemctl", "restart"], ["crictl", "-r"], ["crictl", "-r"]]


def test_addresses_of_the_pod_network_since_the_switch_are_freed(tmp_path: Path) -> None:
    """Not those of another network, nor one that was left over before."""
    pods, other = tmp_path / "cni" / "pods", tmp_path / "cni" / "other"
    for name in (pods / "10.0.0.2", pods / "fd00::2", pods / "lock", other / "10.1.0.2"):
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_text("id\r\neth0")
    _switched_long_ago(tmp_path)
    (pods / "10.0.0.1").write_text("older\r\neth0")
    os.utime(pods / "10.0.0.1", (900, 900))
    (tmp_path / "pod-networks").write_text(f"{pods}\n")
    done = _undo_start(tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in pods.iterdir()) == ["10.0.0.1", "lock"]
    assert (other / "10.1.0.2").exists()


def test_network_namespaces_without_a_process_go(tmp_path: Path) -> None:
    """Those of requests that were cut off. One in use is somebody's, whatever its name."""
    _switched_long_ago(tmp_path)
    (tmp_path / "netns").mkdir()
    (tmp_path / "netns" / "cni-unused").touch()
    (tmp_path / "netns" / "mine").touch()
    (tmp_path / "netns" / "cni-used").symlink_to("/proc/self/ns/net")
    done = _undo_start(tmp_path)
    assert done.returncode == 0, done.stderr
    left = sorted(path.name for path in (tmp_path / "netns").iterdir())
    assert left == ["cni-used", "mine"]


def _switched_long_ago(folder: Path) -> None:
    """At second 1000; containerd has no container left."""
    (folder / "units").mkdir()
    os.utime(folder / "units", (1000, 1000))
    (folder / "containers").write_text("")


def _undo_start(folder: Path, **instead: str) -> subprocess.CompletedProcess[str]:
    commands = {"ctr": CTR, "systemctl": YES, "crictl": YES, "sleep": YES, **instead}
    variables = {"UNSHIM_BOOTING": "", "UNSHIM_CRI_SOCKET": "/run/containerd/containerd.sock"}
    text = _step("start-containerd").undo
    assert text
    text = text.replace("/run/netns", str(folder / "netns"))  # never this machine's own
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
