"""Facts gathered for real: on this machine, with tools that misbehave, and on nodes of the lab."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.lab.lab import Lab
from tests.lab.nodes import Node
from unshim import gather, node
from unshim.core import edits
from unshim.errors import StepFailed
from unshim.ports import Completed
from unshim.ssh import SshConnector, load_settings
from unshim.ssh.shell import wrap

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a mount namespace")

NEW_NETWORK = 0x40000000  # CLONE_NEWNET
BEGAN = "unshim:began\n"
CLIENT = """
import socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(sys.argv[1])
    print(flush=True)
    sys.stdin.read()
"""


class LocalShell:
    """A NodeShell for a shell on this machine, fed exactly as the one over SSH is."""

    def __init__(
        self, launch: Sequence[str] = (), path: str = "", env: Mapping[str, str] | None = None
    ) -> None:
        self._launch = list(launch) or ["sh", "-s"]
        self._env = {**os.environ, **(env or {})}
        if path:
            self._env["PATH"] = f"{path}:{self._env['PATH']}"

    def run(self, script: str, *, timeout: float) -> Completed:
        done = subprocess.run(
            self._launch,
            input=wrap(script),
            env=self._env,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        out = done.stdout.decode(errors="replace").removeprefix(BEGAN)
        return Completed(code=done.returncode, out=out, err=done.stderr.decode(errors="replace"))

    def close(self) -> None:
        pass


class Tools:
    """Commands of our own that stand before the machine's on PATH, and a systemd they tell of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.units: list[str] = []
        self.started: list[subprocess.Popen[bytes]] = []

    def add(self, name: str, body: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def service(self, name: str, *argv: str, active: str = "active") -> None:
        """A unit whose main process really runs with this command line."""
        pid = 0
        if active == "active":
            # It waits for input that never comes; its command line ends with `argv`.
            waiting = ["sh", "-c", "read -r never", *argv]
            self.started.append(subprocess.Popen(waiting, stdin=subprocess.PIPE))
            pid = self.started[-1].pid
        self.units.append(
            f"Id={name}\nNames={name}\nLoadState=loaded\nActiveState={active}\n"
            f"UnitFileState=enabled\nMainPID={pid}"
        )
        text = "\n\n".join(self.units)
        self.add("systemctl", f"[ $1 = show ] || exit 0\ncat <<'END'\n{text}\nEND")

    def stop(self) -> None:
        for process in self.started:
            process.communicate()


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    folder = tmp_path / "bin"
    folder.mkdir()
    made = Tools(folder)
    yield made
    made.stop()


def test_a_machine_without_kubernetes_is_read_in_a_moment() -> None:
    """Here, where no docker.service runs: no runtime, and nothing else missing."""
    before = time.monotonic()
    facts = gather.facts(LocalShell(), "here")
    assert time.monotonic() - before < 5
    assert facts.hostname == os.uname().nodename
    assert facts.kernel == os.uname().release
    assert facts.architecture == os.uname().machine
    assert facts.root is (os.geteuid() == 0)
    assert set(facts.errors) <= {"units"}  # systemd is not everywhere
    if facts.errors:
        assert (facts.kubelet, facts.docker, facts.containerd) == (None, None, None)
    assert {d.path for d in facts.disks} >= {"/var/lib/docker", "/var/lib/containerd", "/etc"}
    assert "/etc" in facts.present
    assert facts.tools >= {"base64", "timeout", "tar", "sha256sum"}  # or we would not be here


def test_the_script_carries_the_edits_paths() -> None:
    """What edits ask for is what is read; the paths travel inside the script."""
    text = gather.facts_script()
    for path in (*edits.EDIT_PATHS, *edits.PRESENCE_PATHS):
        assert path in text


def test_the_script_changes_nothing(tmp_path: Path) -> None:
    """It opens no file for writing: shown by strace, system call by system call."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    trace = tmp_path / "trace"
    calls = "open,openat,creat,unlink,unlinkat,rename,renameat2,mkdir,mkdirat,chmod,fchmodat,link"
    launch = ["strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={calls}", "sh", "-s"]
    gather.facts(LocalShell(launch), "here")
    assert "openat" in trace.read_text()
    writing = ("O_WRONLY", "O_RDWR", "O_CREAT", "unlink", "rename", "mkdir", "chmod", "link(")
    effects = [
        line
        for line in trace.read_text().splitlines()
        if any(word in line for word in writing) and '"/dev/' not in line
    ]
    assert effects == []


def test_docker_is_not_asked_while_its_service_is_stopped(tools: Tools, tmp_path: Path) -> None:
    """Asking would start it again through its socket."""
    mark = tmp_path / "mark"
    tools.add("docker", f"touch {mark}")
    tools.service("docker.service", active="inactive")
    tools.service("docker.socket", active="active")
    facts = gather.facts(LocalShell(path=str(tools.folder)), "here")
    assert not mark.exists()
    assert facts.docker is None
    assert facts.units["docker.service"].active == "inactive"
    assert "docker-info" not in facts.errors


def test_docker_is_asked_through_the_socket_of_its_own_daemon(tools: Tools) -> None:
    """The client's contexts, and a DOCKER_HOST of somebody's, do not lead us elsewhere."""
    tools.service("docker.service", "dockerd", "-H", "unix:///run/other.sock")
    tools.add("docker", 'printf \'{"ServerVersion":"%s %s"}\' "$DOCKER_HOST" "$DOCKER_CONFIG"')
    shell = LocalShell(
        path=str(tools.folder), env={"DOCKER_HOST": "tcp://elsewhere:2375", "DOCKER_CONTEXT": "x"}
    )
    facts = gather.facts(shell, "here")
    assert facts.docker is not None
    assert facts.docker.version == "unix:///run/other.sock /nonexistent"


def test_a_hanging_docker_costs_its_own_facts_only(tools: Tools) -> None:
    """Each question has its own deadline; the rest of the facts is there."""
    tools.service("docker.service", "dockerd")
    tools.add("docker", "exec sleep 60")
    tools.add("timeout", 'shift; exec /usr/bin/timeout 0.5 "$@"')
    facts = gather.facts(LocalShell(path=str(tools.folder)), "here")
    assert facts.docker is None
    assert facts.errors["docker-info"] == "no answer within 10 s"
    assert facts.hostname


def test_a_failing_docker_says_why(tools: Tools) -> None:
    """The client's own words are kept as the reason."""
    tools.service("docker.service", "dockerd")
    tools.add("docker", "echo Cannot connect to the Docker daemon >&2; exit 1")
    facts = gather.facts(LocalShell(path=str(tools.folder)), "here")
    assert facts.docker is None
    assert "Cannot connect to the Docker daemon" in facts.errors["docker-info"]


@pytest.mark.parametrize(
    "argv",
    [
        ("kubelet", "--config={0}", "--v=2"),
        ("kubelet", "--config", "{0}"),
        ("kubelet", "--config=/none", "--config={0}"),
        ("kubelet", "--config={0}", "--node-labels", "--config-like=1"),
    ],
)
def test_the_kubelet_s_config_file_is_found_however_it_is_given(
    tools: Tools, tmp_path: Path, argv: tuple[str, ...]
) -> None:
    """With `=` or a blank, the last one winning."""
    config = tmp_path / "kubelet.yaml"
    config.write_text("cgroupDriver: systemd\n")
    tools.service("kubelet.service", *(word.format(config) for word in argv))
    facts = gather.facts(LocalShell(path=str(tools.folder)), "here")
    assert facts.kubelet is not None
    assert facts.kubelet.config_text == "cgroupDriver: systemd\n"


def test_firewall_rules_in_docker_s_chain_are_read(tools: Tools) -> None:
    """Those that somebody added; Docker's own lone RETURN and other chains are left out."""
    tools.service("docker.service", "dockerd")
    tools.add("docker", 'printf \'{"ServerVersion":"20.10.24"}\'')
    rules = ":DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -i eth0 -j DROP\n"
    tools.add("iptables-save", f"cat <<'END'\n{rules}-A DOCKER-USER -j RETURN\nEND")
    facts = gather.facts(LocalShell(path=str(tools.folder)), "here")
    assert facts.docker_firewall == ("-A DOCKER-USER -i eth0 -j DROP",)


@pytest.mark.parametrize(("ftype", "told"), [("0", False), ("1", True)])
def test_an_old_xfs_is_known_by_its_ftype(tools: Tools, ftype: str, told: bool) -> None:
    """xfs_info is asked for the mount point, and only of an XFS."""
    tools.add(
        "df",
        "echo Filesystem Type 1-blocks Used Available Capacity Mounted\n"
        "echo /dev/sda1 xfs 1000 400 600 40% /mnt/point",
    )
    tools.add("xfs_info", f'[ "$1" = /mnt/point ] && echo "naming =version 2 ftype={ftype}"')
    disks = gather.facts(LocalShell(path=str(tools.folder)), "here").disks
    assert {(d.fstype, d.total_bytes, d.free_bytes, d.d_type) for d in disks} == {
        ("xfs", 1000, 600, told)
    }


def test_folders_that_flags_name_are_looked_at(tools: Tools, tmp_path: Path) -> None:
    """--cni-conf-dir and --cni-bin-dir, in old spelling, lead to the files in use."""
    (tmp_path / "net.d").mkdir()
    (tmp_path / "net.d" / "10-a.conf").write_text("{}")
    (tmp_path / "net.d" / "notes").write_text("no")
    (tmp_path / "bin2").mkdir()
    (tmp_path / "bin2" / "bridge").write_text("")
    tools.service(
        "kubelet.service",
        "kubelet",
        f"--cni_conf_dir={tmp_path}/net.d",
        f"--cni-bin-dir={tmp_path}/bin2,/none",
    )
    facts = gather.facts(LocalShell(path=str(tools.folder)), "here")
    assert [f.path for f in facts.cni_files] == [f"{tmp_path}/net.d/10-a.conf"]
    assert facts.cni_binaries[f"{tmp_path}/bin2"] == ("bridge",)


def test_cri_dockerd_s_own_flags_count_where_it_runs(tools: Tools, tmp_path: Path) -> None:
    """From kubelet 1.24 on the CNI flags are cri-dockerd's; its command line is a fact."""
    (tmp_path / "net.d").mkdir()
    (tmp_path / "net.d" / "10-a.conflist").write_text("{}")
    flag = f"--cni-conf-dir={tmp_path}/net.d"
    tools.service("kubelet.service", "kubelet", "--cni-conf-dir=/none")
    tools.service("cri-docker.service", "cri-dockerd", flag)
    facts = gather.facts(LocalShell(path=str(tools.folder)), "here")
    assert facts.cri_dockerd_argv[-2:] == ("cri-dockerd", flag)
    assert [f.path for f in facts.cni_files] == [f"{tmp_path}/net.d/10-a.conflist"]


@needs_root
def test_users_of_docker_are_found_in_cron_units_and_scripts(tmp_path: Path) -> None:
    """Files that call docker or name its socket are listed; comments and look-alikes are not."""
    etc = tmp_path / "etc"
    texts = {
        "cron.d/prune": "0 3 * * * root docker system prune -f\n",
        "cron.d/other": "# docker ps\n0 3 * * * root docker-cleanup-not --all\n",
        "systemd/system/agent.service": "[Service]\nExecStart=/bin/a --sock /run/docker.sock\n",
        "systemd/system/docker.service": "[Service]\nExecStart=/usr/bin/docker -d\n",
        "systemd/system/late.service": "[Unit]\nAfter=docker.service\n",
        "logrotate.d/containers": "/var/lib/docker/containers/*/*.log {\n  rotate 5\n}\n",
        "telegraf/telegraf.conf": '[[inputs.docker]]\n  endpoint = "unix:///run/docker.sock"\n',
    }
    for name, text in texts.items():
        (etc / name).parent.mkdir(parents=True, exist_ok=True)
        (etc / name).write_text(text)
    launch = ["unshare", "-m", "sh", "-c", f'mount --bind {etc} /etc; exec "$@"', "sh", "sh", "-s"]
    facts = gather.facts(LocalShell(launch), "here")
    files = {path for path in facts.docker_users if path.startswith("/etc/")}
    assert {path.replace("//", "/") for path in files} == {
        "/etc/cron.d/prune",
        "/etc/systemd/system/agent.service",
        "/etc/logrotate.d/containers",
        "/etc/telegraf/telegraf.conf",
    }
    assert not any("//" in path for path in files)


def test_processes_that_hold_docker_s_socket_are_found(tmp_path: Path) -> None:
    """A process connected to a docker.sock is named; the one that serves it is not looked for."""
    if shutil.which("ss") is None:
        pytest.skip("needs ss")
    path = str(tmp_path / "docker.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        client = subprocess.Popen(
            [sys.executable, "-c", CLIENT, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        accepted, _ = server.accept()
        assert client.stdout is not None
        client.stdout.readline()
        facts = gather.facts(LocalShell(), "here")
        accepted.close()
        client.communicate()
    assert any(user.startswith("process python") for user in facts.docker_users)


@needs_root
def test_private_keys_do_not_leave_the_node(tmp_path: Path) -> None:
    """A client key beside a registry's certificate is known to exist, and not read."""
    here = tmp_path / "etc"
    folder = here / "docker" / "certs.d" / "reg:5000"
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_text("CERTIFICATE")
    (folder / "client.key").write_text("CANARY")
    launch = ["unshare", "-m", "sh", "-c", f'mount --bind {here} /etc; exec "$@"', "sh", "sh", "-s"]
    shell = LocalShell(launch)
    out = shell.run(gather.facts_script(), timeout=30).out
    facts = gather.facts(shell, "here")
    assert facts.files["/etc/docker/certs.d/reg:5000/ca.crt"] == "CERTIFICATE"
    assert "/etc/docker/certs.d/reg:5000/client.key" in facts.present
    assert "Q0FOQVJZ" not in out  # CANARY in base64


@needs_root
def test_runs_are_read_alone_and_quickly(tmp_path: Path) -> None:
    """The quick variant finds every run folder, whole or torn, and follows no link."""
    run = tmp_path / "unshim" / "0000-a"
    run.mkdir(parents=True)
    (run / "journal").write_text('{"seq":1}\n{"to')
    (run / "meta.json").write_text("{}")
    (tmp_path / "unshim" / "0000-b").mkdir()
    (tmp_path / "unshim" / "current").symlink_to("0000-a")
    (tmp_path / "unshim" / "Not a uid").mkdir()
    (tmp_path / "unshim" / "token").write_text("3")
    launch = ["unshare", "-m", "sh", "-c", f'mount --bind {tmp_path} /var/lib; exec "$@"', "sh"]
    before = time.monotonic()
    found = gather.runs(LocalShell([*launch, "sh", "-s"]), "here")
    assert time.monotonic() - before < 1
    assert [r.uid for r in found] == ["0000-a", "0000-b"]
    assert found[0].journal == '{"seq":1}\n{"to'
    assert found[0].meta == "{}"


def test_a_node_that_cannot_run_the_script_is_an_error() -> None:
    """Facts that are none are never taken for the facts of an empty node."""
    with pytest.raises(StepFailed, match="Node n1: its facts could not be read"):
        gather.facts(LocalShell(["sh", "-c", "cat >/dev/null; echo no base64 >&2; exit 1"]), "n1")


def test_every_shell_of_a_node_will_do() -> None:
    """dash, bash and busybox sh print the same."""
    seen = {}
    for name in ("dash", "bash --posix", "busybox sh"):
        program = shutil.which(name.split()[0])
        if program is None:
            continue
        facts = gather.facts(LocalShell([program, *name.split()[1:], "-s"]), "here")
        found = (facts.hostname, facts.files, sorted(facts.present), sorted(facts.tools))
        seen[name] = (*found, facts.packages, facts.sysctls, facts.errors)
    assert len({str(s) for s in seen.values()}) == 1


def test_the_script_is_clean() -> None:
    """shellcheck has nothing to say, and it fits on one reading."""
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck")
    text = node.script(node.FACTS)
    done = subprocess.run(
        ["shellcheck", "-s", "sh", "-"], input=text, text=True, capture_output=True, check=False
    )
    assert done.stdout == ""
    assert len(text.splitlines()) <= 300


@pytest.fixture
def lab() -> Iterator[Lab]:
    """The running lab, with this thread inside its network."""
    try:
        running = Lab.attach(os.environ.get("UNSHIM_LAB", "lab"))
    except FileNotFoundError:
        pytest.skip("no lab is running: make lab-up")
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{running.netns}") as there:
        assert libc.setns(there.fileno(), NEW_NETWORK) == 0
        yield running
        assert libc.setns(home.fileno(), NEW_NETWORK) == 0


@pytest.mark.lab
def test_nodes_of_the_lab_are_read_whole_and_left_as_they_were(lab: Lab) -> None:
    """Over SSH from real nodes: every fact, no error, in seconds, and nothing in /etc changed."""
    connector = SshConnector(
        load_settings(user="root", port=22, key_file=lab.ssh_key, known_hosts_file=lab.known_hosts)
    )
    for machine in lab.nodes:
        before = listing(machine)
        start = time.monotonic()
        shell = connector.connect(machine.ip, node=machine.name)
        facts = gather.facts(shell, machine.name)
        shell.close()
        assert time.monotonic() - start < 5
        assert facts.errors == {}
        assert facts.hostname == machine.name
        assert facts.kubelet is not None
        assert facts.containerd is not None
        assert listing(machine) == before


def listing(machine: Node) -> dict[str, str]:
    """The node's /etc and units, without the API server's own log."""
    return {k: v for k, v in machine.listing().items() if "/audit/" not in k}
