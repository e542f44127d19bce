"""One machine of the lab: a booted Debian with systemd, and the things tests do to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.lab import network
from tests.lab.listings import LISTING, parse_listing
from tests.lab.places import HERE
from tests.lab.shells import run, wait

STORES = ("docker", "containerd", "kubelet", "etcd")


class Node:
    """A node of a running lab; `directory` holds its root and its data stores."""

    def __init__(self, lab: str, name: str, directory: Path, ssh: Path) -> None:
        self.name, self.directory, self._lab, self._ssh = name, directory, lab, ssh
        self.at = network.address(name)

    @property
    def ip(self) -> str:
        return self.at.ip

    @property
    def netns(self) -> str:
        return network.namespace(self._lab, self.name)

    @property
    def cgroup(self) -> str:
        return self.netns

    # -- life ---------------------------------------------------------------------------------

    def boot(self, lowers: list[Path], kube: Path, images: Path) -> None:
        """Mount the root and start the supervisor. Returns at once; see wait_booted."""
        root = self.directory / "root"
        for name in ("root", "upper", "work", *STORES):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        if not os.path.ismount(root):
            lower = ":".join(str(path) for path in lowers)
            upper, work = self.directory / "upper", self.directory / "work"
            options = f"lowerdir={lower},upperdir={upper},workdir={work}"
            run(["mount", "-t", "overlay", f"unshim-{self._lab}", "-o", options, str(root)])
        self._write_boot(kube, images)
        self.start()

    def _write_boot(self, kube: Path, images: Path) -> None:
        binds = [f"--bind={self.directory / store}:{_inside(store)}" for store in STORES]
        binds += [f"--bind-ro={kube}:/opt/kube", f"--bind-ro={images}:/opt/images"]
        root = str(self.directory / "root")
        argv = [self.cgroup, f"/run/netns/{self.netns}", root, *binds]
        (self.directory / "boot.json").write_text(json.dumps(argv))

    def start(self) -> None:
        """Power on."""
        argv = json.loads((self.directory / "boot.json").read_text())
        with (self.directory / "console.log").open("ab") as log:
            process = subprocess.Popen(
                ["sh", str(HERE / "shell" / "boot.sh"), *argv],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        (self.directory / "pid").write_text(str(process.pid))

    @property
    def supervisor(self) -> int:
        try:
            pid = int((self.directory / "pid").read_text())
            return pid if "boot.sh" in Path(f"/proc/{pid}/cmdline").read_text() else 0
        except (OSError, ValueError):
            return 0

    @property
    def leader(self) -> int:
        """The pid of the node's own systemd, 0 while there is none."""
        nspawn = _child(self.supervisor, "systemd-nspawn")
        return _child(nspawn, "systemd") if nspawn else 0

    def wait_booted(self, timeout: float = 60) -> None:
        wait(self._up, timeout, f"{self.name} to boot")
        # one boot in many systemd cannot place this unit's process (219/CGROUP), so early in a boot
        self.exec(
            "systemctl is-active -q lab-cgroups || "
            "{ systemctl restart lab-cgroups && systemctl try-restart containerd docker kubelet; }"
        )

    def _up(self) -> bool:
        done = self.exec("systemctl is-active ssh dbus", check=False) if self.leader else None
        return done is not None and done.returncode == 0

    def shutdown(self, timeout: float = 90) -> None:
        """Power off cleanly."""
        if self.leader:
            self.exec("systemctl poweroff", check=False)
        wait(lambda: not self.supervisor, timeout, f"{self.name} to power off")

    def power_cut(self) -> None:
        """Every process is gone at once; the disks are as they are. `start` boots it again."""
        supervisor, leader = self.supervisor, self.leader
        for pid in (supervisor, _child(supervisor, "systemd-nspawn"), leader):
            if pid:
                _kill(pid)
        wait(lambda: not self.supervisor and not _alive(leader), 30, f"{self.name} to die")

    def reboot(self) -> None:
        """Ask for a reboot and wait until the new boot is up."""
        before = self.leader
        self.exec("systemctl reboot", check=False)
        wait(lambda: self.leader not in (0, before), 120, f"{self.name} to reboot")
        self.wait_booted()

    # -- doing things on it -------------------------------------------------------------------

    def exec(
        self, script: str, *, check: bool = True, timeout: float = 120, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell script as root inside the node, without its sshd."""
        argv = ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-r", "-w",
                "sh", "-c", script]  # fmt: skip
        env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
        }
        return run(argv, check=check, timeout=timeout, input=input, env=env)

    def ssh(
        self, script: str, *, user: str = "root", check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        argv = ["ip", "netns", "exec", network.namespace(self._lab), "ssh", "-F",
                str(self._ssh / "config"), f"{user}@{self.name}", script]  # fmt: skip
        return run(argv, check=check, timeout=timeout)

    def block_ssh(self) -> None:
        """Drop every packet of port 22, open connections too."""
        for chain, port in (("INPUT", "--dport"), ("OUTPUT", "--sport")):
            self.iptables("-I", chain, "-p", "tcp", port, "22", "-j", "DROP")

    def unblock_ssh(self) -> None:
        for chain, port in (("INPUT", "--dport"), ("OUTPUT", "--sport")):
            self.iptables("-D", chain, "-p", "tcp", port, "22", "-j", "DROP")

    def iptables(self, *args: str) -> None:
        """In the node's network namespace."""
        run(["ip", "netns", "exec", self.netns, "iptables", *args])

    # -- looking ------------------------------------------------------------------------------

    def listing(self) -> Mapping[str, str]:
        """Content, mode, owner of what a rollback must restore, and the units' states."""
        return parse_listing(self.exec(LISTING).stdout)

    def docker_k8s_containers(self) -> list[str]:
        """Names of running containers of Kubernetes in Docker ([] when Docker is down)."""
        script = (
            "systemctl is-active -q docker || exit 0; "
            "docker ps --filter label=io.kubernetes.docker.type --format '{{.Names}}'"
        )
        return self.exec(script).stdout.split()

    def cri_containers(self) -> list[str]:
        """Ids of running tasks in containerd's k8s.io namespace."""
        lines = self.exec("ctr -n k8s.io tasks ls", check=False).stdout.splitlines()[1:]
        return [line.split()[0] for line in lines if "RUNNING" in line]


def _inside(store: str) -> str:
    return f"/var/lib/{store}"


def _child(parent: int, name: str) -> int:
    if not parent:
        return 0
    try:
        pids = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        named = [pid for pid in pids if Path(f"/proc/{pid}/comm").read_text().startswith(name[:15])]
    except OSError:
        return 0
    return int(named[0]) if named else 0


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _alive(pid: int) -> bool:
    return bool(pid) and Path(f"/proc/{pid}").exists()
