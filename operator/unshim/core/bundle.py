"""A run as files: what is uploaded to /var/lib/unshim/<run>/ and the scripts that speak to it.

Nothing of a custom resource is ever part of a command line: scripts travel by standard input, and
every argument placed in one has been checked against a narrow pattern here.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shlex
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

from unshim.core.edits.registry_hosts import CONTAINERD_CERTS
from unshim.core.steps import FileChange, FileStep, Playbook, ScriptStep

BASE = "/var/lib/unshim"

_RUN = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_ARGUMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_VERBS = frozenset({"stage", "switch", "wait", "show", "confirm", "rollback", "reopen"})
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")

Changes = Mapping[str, Sequence[FileChange]]


def build(
    run: str,
    playbook: Playbook,
    changes: Changes,
    variables: Mapping[str, str],
    meta: Mapping[str, Any],
    runner: str,
) -> dict[str, bytes]:
    """Every part by its path below the run's folder, the manifest of checksums among them.

    Raises ValueError for names that have no place in a script.
    """
    _folder(run)
    parts = {
        "runner.sh": runner.encode(),
        "order": _order(playbook).encode(),
        "env": environment({**playbook.vars, **variables}).encode(),
        "meta.json": json.dumps(meta, sort_keys=True).encode(),
    }
    for step in playbook.steps:
        if isinstance(step, FileStep):
            parts |= _file_parts(step, changes.get(step.name, ()))
        else:
            parts |= _script_parts(step)
    parts["manifest"] = manifest(parts).encode()
    return parts


def _order(playbook: Playbook) -> str:
    rows = [
        f"{step.stage.value} {step.name} file 60"
        if isinstance(step, FileStep)
        else f"{step.stage.value} {step.name} script {step.timeout}"
        for step in playbook.steps
    ]
    return "\n".join(rows) + "\n"


def environment(variables: Mapping[str, str]) -> str:
    """`export` lines, quoted."""
    for name in variables:
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"not a variable name: {name!r}")
    return "".join(f"export {k}={shlex.quote(v)}\n" for k, v in sorted(variables.items()))


def _script_parts(step: ScriptStep) -> dict[str, bytes]:
    scripts = {
        "check": step.check, "apply": step.apply, "verify": step.verify, "undo": step.undo
    }  # fmt: skip
    return {f"steps/{step.name}/{k}": v.encode() for k, v in scripts.items() if v}


def _file_parts(step: FileStep, changes: Sequence[FileChange]) -> dict[str, bytes]:
    parts: dict[str, bytes] = {}
    rows = []
    for index, change in enumerate(changes):
        if "\n" in change.path or not change.path.startswith("/"):
            raise ValueError(f"not an absolute path: {change.path!r}")
        before, after = _sum(change.before), _sum(change.after)
        rows.append(f"{index} {change.mode:o} {before} {after} {change.path}\n")
        if change.after is not None:
            parts[f"steps/{step.name}/new.{index}"] = change.after.encode()
    parts[f"steps/{step.name}/files"] = "".join(rows).encode()
    return parts


def _sum(text: str | None) -> str:
    return "absent" if text is None else hashlib.sha256(text.encode()).hexdigest()


def manifest(parts: Mapping[str, bytes]) -> str:
    """sha256sum's own format."""
    rows = [f"{hashlib.sha256(data).hexdigest()}  {path}" for path, data in sorted(parts.items())]
    return "\n".join(rows) + "\n"


def upload_script(run: str, parts: Mapping[str, bytes]) -> str:
    """A script that puts the bundle in place in one rename.

    A run that has begun keeps its bundle. One that was uploaded but never began is replaced: the
    node may have changed since it was planned.
    """
    folder = _folder(run)
    text = base64.encodebytes(_tar(parts)).decode()
    return f"""set -eu
umask 077
mkdir -p {BASE}
if [ ! -e {folder}/journal ]; then
    rm -rf {folder}.new
    mkdir {folder}.new
    base64 -d <<'BUNDLE' | tar -xof - -C {folder}.new
{text}BUNDLE
    (cd {folder}.new && sha256sum --quiet -c manifest)
    find {folder}.new -exec sync {{}} +
    rm -rf {folder}
    mv -T {folder}.new {folder}
    sync {BASE}
fi
"""


def _tar(parts: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, data in sorted(parts.items()):
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(data), 0o600
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def verb_script(run: str, verb: str, *args: str) -> str:
    """A script that asks the runner for one thing; a run that is not there answers empty."""
    if verb not in _VERBS or not all(_ARGUMENT.fullmatch(a) for a in args):
        raise ValueError(f"not a verb of the runner: {verb} {args}")
    runner = f"{_folder(run)}/runner.sh"
    words = " ".join((verb, *args))
    return f"if [ -e {runner} ]; then sh {runner} {words}; else echo now $(date +%s); fi\n"


def _folder(run: str) -> str:
    if not _RUN.fullmatch(run):
        raise ValueError(f"not a run's name: {run!r}")
    return f"{BASE}/{run}"


def checks_script(steps: Sequence[ScriptStep], variables: Mapping[str, str]) -> str:
    """Run each step's check by itself and print its exit code. Checks change nothing."""
    lines = [environment({"UNSHIM_RUN_DIR": "/nonexistent", **variables})]
    for step in steps:
        if step.check:
            text = base64.b64encode(step.check.encode()).decode()
            lines.append(
                f"code=0; printf %s {text} | base64 -d | sh -eu >/dev/null 2>&1 || code=$?\n"
                f"echo {step.name} $code\n"
            )
    return "".join(lines)


def parse_checks(text: str) -> dict[str, int]:
    """Exit codes by step name."""
    rows = [line.split() for line in text.splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def resolve_script(variables: Mapping[str, str], hosts: Sequence[FileChange], resolve: str) -> str:
    """`node/resolve.sh` with what it is given; files of the registries' folder go along whole."""
    rows = [
        f"{base64.b64encode((change.after or '').encode()).decode()} {place}"
        for change in hosts
        if (place := change.path.removeprefix(f"{CONTAINERD_CERTS}/")) != change.path
    ]
    return environment({**variables, "UNSHIM_HOSTS": "\n".join(rows)}) + resolve


def parse_unpullable(text: str) -> dict[str, str]:
    """Why, by image."""
    rows = (line.partition("\t") for line in text.splitlines())
    return {image: why for image, tab, why in rows if tab}
