"""Container images without a registry: docker-archive tars made from static binaries."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

from tests.lab.places import HERE
from tests.lab.shells import run

PAUSE = "k8s.gcr.io/pause:3.2"
ETCD = "k8s.gcr.io/etcd:3.4.13-0"
APP = "registry.lab:5000/apps/web:1"
CANARY = "registry.lab:5000/unshim/canary:1"
LOCAL = "local.test/only-here:1"
AGENT = "lab.test/agent:1"

#: Leaves at once on SIGTERM, so that a drain is as fast as the cluster.
SERVE = """#!/bin/sh
trap 'exit 0' TERM INT
echo "started $0 $(date +%s)"
while :; do
    sleep 3600 &
    wait $!
done
"""

Files = Mapping[str, tuple[bytes, int]]


def pack_all(folder: Path, binaries: Path, version: str) -> None:
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        files = {f"usr/local/bin/{name}": ((binaries / name).read_bytes(), 0o755)}
        pack(folder / f"{name}.tar", f"k8s.gcr.io/{name}:{version}", files)
    pack(folder / "etcd.tar", ETCD, _etcd())
    pack(folder / "pause.tar", PAUSE, {"pause": (_pause(folder), 0o755)}, ["/pause"])
    shell = _busybox()
    for name, tag in (("web", APP), ("canary", CANARY), ("local", LOCAL), ("agent", AGENT)):
        marked = {**shell, "etc/image": (tag.encode(), 0o644)}
        pack(folder / f"{name}.tar", tag, marked, ["/serve"])


def _etcd() -> Files:
    """Debian's etcd is linked dynamically: its libraries come along."""
    found = {"usr/local/bin/etcd": (Path("/usr/bin/etcd").read_bytes(), 0o755)}
    for line in run(["ldd", "/usr/bin/etcd"]).stdout.splitlines():
        paths = [word for word in line.split() if word.startswith("/")]
        for path in paths:
            found[path.lstrip("/")] = (Path(path).resolve().read_bytes(), 0o755)
    return found


def _pause(folder: Path) -> bytes:
    binary = folder / "pause"
    source = HERE / "shell" / "pause.c"
    run(["gcc", "-static", "-Os", "-s", "-o", str(binary), str(source)])
    data = binary.read_bytes()
    binary.unlink()
    return data


def _busybox() -> Files:
    applets = run(["/bin/busybox", "--list"]).stdout.split()
    files: dict[str, tuple[bytes, int]] = {
        "bin/busybox": (Path("/bin/busybox").read_bytes(), 0o755),
        "serve": (SERVE.encode(), 0o755),
        "etc/passwd": (b"root:x:0:0::/:/bin/sh\n", 0o644),
        "tmp/.keep": (b"", 0o644),
    }
    return {**files, **{f"bin/{a}": (b"@busybox", 0) for a in applets if a != "busybox"}}


def pack(target: Path, tag: str, files: Files, command: list[str] | None = None) -> None:
    """Write one image of one layer as `docker save` would."""
    layer = _layer(files)
    digest = hashlib.sha256(layer).hexdigest()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": command, "Env": ["PATH=/usr/local/bin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "unshim lab"}],
        "created": "2026-01-01T00:00:00Z",
    }
    raw = json.dumps(config).encode()
    name = f"{hashlib.sha256(raw).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [tag], "Layers": [f"{digest}/layer.tar"]}]
    with tarfile.open(target, "w") as tar:
        _add(tar, name, raw, 0o644)
        _add(tar, f"{digest}/layer.tar", layer, 0o644)
        _add(tar, "manifest.json", json.dumps(manifest).encode(), 0o644)


def _layer(files: Files) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in sorted(files):
            data, mode = files[name]
            if data == b"@busybox":
                link = tarfile.TarInfo(name)
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
            else:
                _add(tar, name, data, mode)
    return out.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    tar.addfile(info, io.BytesIO(data))
