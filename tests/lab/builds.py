"""Heavy builds, each made once and kept in the cache under a key of its inputs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.lab import archives
from tests.lab.places import CACHE, HERE, cached, key
from tests.lab.shells import run, say

TOOLS = (
    "systemd-container", "debootstrap", "etcd-server", "docker-registry", "busybox-static",
    "containernetworking-plugins", "iptables", "openssh-client", "iproute2", "gcc", "libc6-dev",
)  # fmt: skip
BUILD_TOOLS = (
    "golang-1.19-go", "golang-github-modern-go-reflect2-dev", "jq", "rsync", "dpkg-dev", "make",
    "bzip2", "xz-utils",
)  # fmt: skip


def packages(names: Sequence[str]) -> None:
    """Install the Debian packages that are missing."""
    missing = [name for name in names if not _installed(name)]
    if not missing:
        return
    say(f"installing {' '.join(missing)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    run(["apt-get", "update", "-q"], env=env)
    argv = ["apt-get", "install", "-yq", "--no-install-recommends", *missing]
    run(argv, env=env, timeout=1200)


def _installed(name: str) -> bool:
    done = run(["dpkg-query", "-W", "-f", "${Status}", name], check=False)
    return done.stdout == "install ok installed"


def _once(kind: str, name: str, make: Callable[[Path], None]) -> Path:
    """The cached folder, made now if it is missing; a half-made one never counts."""
    target = cached(kind, name)
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        half = target.with_name(target.name + ".half")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir()
        make(half)
        half.rename(target)
    return target


def kubernetes() -> Path:
    """A folder with kubelet, kubeadm, kubectl, apiserver, controller-manager and scheduler."""
    given = os.environ.get("UNSHIM_LAB_BIN")
    if given:
        return Path(given).resolve()
    script = HERE / "shell" / "kubernetes.sh"

    def make(folder: Path) -> None:
        packages(BUILD_TOOLS)
        say("building Kubernetes 1.20.2 from Debian's source (about six minutes on two cores)")
        work = CACHE / "kubernetes-build"
        run(["sh", str(script), str(folder), str(work)], timeout=3000)

    return _once("kubernetes", key(script), make)


def rootfs() -> Path:
    script = HERE / "shell" / "rootfs.sh"

    def make(folder: Path) -> None:
        say("making the nodes' root file system (about ninety seconds)")
        run(["sh", str(script), str(folder)], timeout=1200)

    return _once("rootfs", key(script), make)


def images(binaries: Path) -> Path:
    """docker-archive tars of everything the cluster runs."""
    version = kubernetes_version(binaries)

    def make(folder: Path) -> None:
        say("packing container images")
        archives.pack_all(folder, binaries, version)

    source = (HERE / "archives.py", HERE / "shell" / "pause.c")
    return _once("images", key(*source, version), make)


def kubernetes_version(binaries: Path) -> str:
    """ "v1.20.2"."""
    return run([str(binaries / "kubeadm"), "version", "-o", "short"]).stdout.strip()
