"""The question to registries: as containerd would ask it, with nothing left behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from unshim.core import bundle
from unshim.core.steps import FileChange
from unshim.node import RESOLVE, script

#: Writes down how it was asked; answers by the image's name.
CTR = r"""#!/bin/sh
for image in "$@"; do :; done
hosts=$4
echo "$1 $2 $3 $image proxy=${HTTPS_PROXY:-}" >>"$(dirname "$0")/asked"
(cd "$hosts" && find . -type f -exec grep -H . {} +) >"$(dirname "$0")/hosts"
case $image in
*good*) printf '{\n   "schemaVersion": 2,\n "config": {}}' ;;
*old*) printf '{\n   "schemaVersion": 1,\n   "name": "x"}' ;;
*private*) echo "unexpected status code https://r/v2/p: 403 Forbid" >&2; exit 1 ;;
*) echo "trying next host" >&2; echo "ctr: $image@sha256:8401c: not found" >&2; exit 1 ;;
esac
"""
IMAGES = ("r/good:1", "r/old:1", "r/private:1", "r/gone:1")


def ask(folder: Path, images: tuple[str, ...] = IMAGES, **variables: str) -> Mapping[str, str]:
    (folder / "tmp").mkdir(exist_ok=True)
    given = {
        "UNSHIM_REHEARSE": " ".join(images),
        **dict.fromkeys(("UNSHIM_HTTP_PROXY", "UNSHIM_HTTPS_PROXY", "UNSHIM_NO_PROXY"), ""),
        **variables,
    }
    hosts = (
        FileChange(path="/etc/containerd/certs.d/r/hosts.toml", before=None, after='server = "x"'),
        FileChange(path="/etc/elsewhere", before=None, after="not a registry's"),
    )
    done = subprocess.run(
        ["sh", "-s"],
        input=bundle.resolve_script(given, hosts, script(RESOLVE)),
        env={"PATH": f"{folder}:{os.environ['PATH']}", "TMPDIR": str(folder / "tmp")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list((folder / "tmp").iterdir()) == []
    return bundle.parse_unpullable(done.stdout)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ctr").write_text(CTR)
    (tmp_path / "ctr").chmod(0o755)
    return tmp_path


def test_only_what_cannot_be_had_is_named(folder: Path) -> None:
    """The registry's own words; one that wants a pull secret is there; schema 1 is told apart."""
    assert ask(folder) == {
        "r/old:1": "the registry has it as schema 1 only",
        "r/gone:1": "ctr: r/gone:1@sha256:8401c: not found",
    }


def test_it_is_asked_with_the_settings_to_come(folder: Path) -> None:
    """Planned registry files and the proxies that containerd will have, and nothing else."""
    ask(folder, ("r/good:1",), UNSHIM_HTTPS_PROXY="http://user:pass word@proxy:3128")
    asked = (folder / "asked").read_text().strip()
    wanted = "content fetch-object --hosts-dir r/good:1 proxy=http://user:pass word@proxy:3128"
    assert asked == wanted
    assert './r/hosts.toml:server = "x"' in (folder / "hosts").read_text()
    assert "not a registry" not in (folder / "hosts").read_text()


def test_no_images_no_question(folder: Path) -> None:
    """Nothing is asked for an empty list."""
    assert ask(folder, ()) == {}
    assert not (folder / "asked").exists()


def test_a_node_without_ctr_says_nothing(folder: Path) -> None:
    """What cannot be asked is not guessed."""
    (folder / "ctr").unlink()
    assert ask(folder) == {}
