"""The operator's image, made by following the Dockerfile, without a registry or a builder.

Each stage is an overlay on its base, and RUN is a chroot into it. Two things differ from a
`docker build`: Debian's own Python stands in for the official image, and RUN finds packages in a
folder that this machine's pip has filled, where it checks their hashes as ever.
"""

from __future__ import annotations

import json
import shutil
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath

from tests.lab import builds, dockerfile, layers, python_base
from tests.lab.dockerfile import Config, Instruction, Stage
from tests.lab.nodes import Node
from tests.lab.places import CACHE, HERE, key
from tests.lab.shells import run, say

ROOT = HERE.parent.parent
DOCKERFILE = ROOT / "Dockerfile"
WHEELS = "mnt"  # an empty folder of Debian, where RUN finds the wheels
KEPT = 4  # images in the cache, the one in the making among them
CONTEXT = ""  # the root that COPY reads when it names no stage


def push(node: Node, tag: str) -> None:
    """Build what has changed, load it into the node's Docker, and push it to its registry."""
    base, own = python_base.base(stages()[-1].base), _built()
    config = json.loads((own / "config.json").read_text())
    say(f"loading and pushing {tag}")
    archive = node.directory / "root/var/tmp/operator.tar"
    layers.archive(archive, tag, config, [base / "layer.tar", own / "layer.tar"])
    try:
        node.exec(f"docker load -qi /var/tmp/operator.tar && docker push -q {tag}", timeout=300)
    finally:
        archive.unlink()


def stages() -> list[Stage]:
    return dockerfile.parse(DOCKERFILE.read_text())


def _built() -> Path:
    """The cached folder with `layer.tar`, what the Dockerfile adds to its base, and its config."""
    files = [path for name in dockerfile.sources(stages()) for path in _files(ROOT / name)]
    code = [HERE / f"{name}.py" for name in ("dockerfile", "operator_image", "python_base")]
    inputs = [DOCKERFILE, *code, *files]
    names = "\n".join(str(path.relative_to(ROOT)) for path in inputs)
    return builds._once("operator", key(names, *inputs), _build)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts)


def _wheels(version: str) -> Path:
    """The cached folder of every wheel that the Dockerfile asks for, for Python `version`."""
    locked = ROOT / "requirements.txt"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    backend: list[str] = project["build-system"]["requires"]

    def make(folder: Path) -> None:
        say("fetching the operator's dependencies")
        fetch = [sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:",
                 f"--python-version={version}", "-d", str(folder)]  # fmt: skip
        run([*fetch, "--no-deps", "--require-hashes", "-r", str(locked)])
        run([*fetch, *backend])

    return builds._once("wheels", key(locked, version, *backend), make)


# -- one build ----------------------------------------------------------------------------------


def _build(folder: Path) -> None:
    say("building the operator's image")
    _forget_old()
    work, roots = folder / "work", {CONTEXT: ROOT}
    with ExitStack() as mounts:
        for stage in stages():
            mount = _mounted(stage, work / stage.name)
            roots[stage.name] = mounts.enter_context(mount)
            config = _follow(stage, roots[stage.name], roots)
    last = work / stages()[-1].name
    layers.layer(last / "upper", folder / "layer.tar")
    (folder / "config.json").write_text(json.dumps(config))
    shutil.rmtree(work)


def _forget_old() -> None:
    """Every change of the code makes an image; only the last few are worth their space."""
    newest_last = sorted(CACHE.glob("operator-*"), key=lambda path: path.stat().st_mtime)
    for path in newest_last[:-KEPT]:
        shutil.rmtree(path)


@contextmanager
def _mounted(stage: Stage, work: Path) -> Iterator[Path]:
    """The stage's root: its base below, and what the stage writes in `work/upper`."""
    lower = python_base.base(stage.base) / "root"
    upper, spare, root = work / "upper", work / "spare", work / "root"
    for path in (upper, spare, root):
        path.mkdir(parents=True)
    options = f"lowerdir={lower},upperdir={upper},workdir={spare}"
    run(["mount", "-t", "overlay", "unshim-image", "-o", options, str(root)])
    try:
        wheels = _wheels(python_base.version(stage.base))
        run(["mount", "--bind", "-o", "ro", str(wheels), str(root / WHEELS)])
        yield root
    finally:
        run(["umount", "--recursive", str(root)])


def _follow(stage: Stage, root: Path, roots: Mapping[str, Path]) -> Config:
    """Carry out the instructions of a stage; returns its image's configuration."""
    config = python_base.CONFIG
    for one in stage.instructions:
        if one.word == "RUN":
            _run(one.text, root, config)
        elif one.word == "COPY":
            _copy(one, root, _place(config), roots)
        else:
            config = dockerfile.configured(config, one)
            _inside(root, _place(config)).mkdir(parents=True, exist_ok=True)
    return config


def _place(config: Config) -> PurePosixPath:
    return PurePosixPath(config.get("WorkingDir", "/"))


def _inside(root: Path, path: PurePosixPath) -> Path:
    return root / path.relative_to("/")


def _run(command: str, root: Path, config: Config) -> None:
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": f"/{WHEELS}"}
    env = dockerfile.environment(config) | offline
    inside = ["chroot", str(root), "env", "-C", str(_place(config)), "sh", "-c", command]
    run(inside, env=env, timeout=900)


def _copy(one: Instruction, root: Path, place: PurePosixPath, roots: Mapping[str, Path]) -> None:
    """As Docker does: a folder's contents go into the target, which is made when missing."""
    origin, sources, target = dockerfile.copied(one)
    to = _inside(root, place / target)
    ignored = shutil.ignore_patterns("__pycache__") if origin == CONTEXT else None
    for source in sources:
        found = roots[origin] / source.lstrip("/")
        if found.is_dir():
            shutil.copytree(found, to, symlinks=True, dirs_exist_ok=True, ignore=ignored)
        else:
            shutil.copy2(found, to)
