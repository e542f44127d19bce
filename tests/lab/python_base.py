"""A stand-in for an official Python image: the Debian release whose own Python has that version."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.lab import builds, layers
from tests.lab.dockerfile import Config
from tests.lab.places import key
from tests.lab.shells import run, say

RELEASES = {"3.11": "bookworm", "3.13": "trixie"}
PACKAGES = "python3,python3-venv,python-is-python3"
WASTE = ("var/lib/apt/lists", "var/cache", "var/log", "usr/share/doc", "usr/share/locale",
         "usr/share/man")  # fmt: skip
CONFIG: Config = {
    "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"],
    "Cmd": ["python3"],
}


def version(image: str) -> str:
    """ "3.11" for "python:3.11-slim"; raises ValueError for anything else."""
    name, _, tag = image.partition(":")
    number, _, variant = tag.partition("-")
    if (name, variant) != ("python", "slim") or number not in RELEASES:
        raise ValueError(f"no stand-in for the base {image}; there are some for {list(RELEASES)}")
    return number


def base(image: str) -> Path:
    """The cached folder with `root`, a file system, and `layer.tar`, the same as a layer."""
    number = version(image)

    def make(folder: Path) -> None:
        builds.packages(builds.TOOLS)
        say(f"making a stand-in for {image} (about a minute)")
        _debian(folder / "root", RELEASES[number])
        found = run(["chroot", str(folder / "root"), "python", "--version"]).stdout
        if not found.startswith(f"Python {number}."):
            raise RuntimeError(f"{RELEASES[number]} has {found.strip()}, not {number}")
        layers.layer(folder / "root", folder / "layer.tar")

    return builds._once("python-base", key(number, Path(__file__)), make)


def _debian(root: Path, release: str) -> None:
    argv = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", release, str(root)]
    run(argv, timeout=1200)
    for waste in WASTE:
        shutil.rmtree(root / waste)
        (root / waste).mkdir()
