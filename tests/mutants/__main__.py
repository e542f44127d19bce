"""`make mutants`: put each fault into a copy of the tree and see that some test notices it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = shutil.ignore_patterns(".venv", ".git", "__pycache__", ".*_cache", ".hypothesis")
SECONDS = 400


@dataclass(frozen=True)
class Fault:
    """One exact replacement in one file, and the tests that must not survive it."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


EXPLORE = ("tests/core/test_explore.py", "tests/core/test_decide.py")
RUNNER = ("tests/node",)
ENGINE = ("tests/test_engine.py",)

FAULTS = (
    Fault(
        "announce a step only after it was applied",
        "operator/unshim/node/runner/2-steps.sh",
        '    note started "$1"\n    part "$1" apply',
        '    part "$1" apply',
        RUNNER,
    ),
    Fault(
        "forget the uncordon after a rollback",
        "operator/unshim/core/decide.py",
        "    if view.stamped:\n        return _do(Action.UNCORDON, reason)\n",
        "",
        EXPLORE,
    ),
    Fault(
        "trust Ready alone: no fresh heartbeat is asked for",
        "operator/unshim/core/proof.py",
        "    fresh = node.heartbeat is not None and node.heartbeat > since\n",
        "    fresh = True\n",
        ("tests/core/test_proof.py", "tests/core/test_explore.py"),
    ),
    Fault(
        "believe any runtime",
        "operator/unshim/core/proof.py",
        '    ok = node.runtime.startswith(f"{runtime}://")\n',
        "    ok = True\n",
        ("tests/core/test_proof.py",),
    ),
    Fault(
        "stop containers that Kubernetes does not own",
        "playbooks/docker-to-containerd.yaml",
        "docker ps -q --no-trunc --filter label=$own=$kind",
        "docker ps -q --no-trunc",
        ("tests/playbooks", "tests/node"),
    ),
    Fault(
        "let foreign containers pass the audit",
        "operator/unshim/core/facts.py",
        "return tuple(c for c in self.containers if c.state in alive and not c.kubernetes)",
        "return ()",
        ("tests/audit", "tests/core"),
    ),
    Fault(
        "accept an unknown host key",
        "operator/unshim/ssh/host_keys.py",
        "    if not any(_vouches(line, offer) for line in known.lines):\n",
        "    if False:\n",
        ("tests/ssh",),
    ),
    Fault(
        "a verdict that a second claim replaces",
        "operator/unshim/node/runner/1-journal.sh",
        'ln "$here/verdict.$$" "$here/verdict"',
        'cp "$here/verdict.$$" "$here/verdict"',
        RUNNER,
    ),
    Fault(
        "overwrite the oldest backup",
        "operator/unshim/node/runner/3-guard.sh",
        'if [ -e "$kept" ] || [ -L "$kept" ] || [ -e "$kept.absent" ]; then continue; fi',
        ":",
        RUNNER,
    ),
    Fault(
        "believe an old drain after a new cordon",
        "operator/unshim/engine/preparing.py",
        "    session.drained, session.drain = False, None",
        "    pass",
        ENGINE,
    ),
    Fault(
        "ignore the fencing token",
        "operator/unshim/node/runner/1-journal.sh",
        'if [ "$1" -lt "$seen" ]; then',
        "if false; then",
        RUNNER,
    ),
    Fault(
        "uncordon a node that carries somebody else's stamp",
        "operator/unshim/core/decide.py",
        "        return self.node.stamp is not None and self.node.stamp.migration == self.run\n",
        "        return self.node.unschedulable\n",
        EXPLORE,
    ),
    Fault(
        "take a deleted canary for an ended one",
        "operator/unshim/core/proof.py",
        'canary.leaving not in facts["pod_uids"].split()',
        "True",
        ("tests/core/test_proof.py",),
    ),
    Fault(
        "confirm without proof",
        "operator/unshim/core/decide.py",
        "    if view.proven:\n",
        "    if True:\n",
        EXPLORE,
    ),
)


def main() -> int:
    survivors = [fault.name for fault in FAULTS if not _killed(fault)]
    print(f"\n{len(FAULTS) - len(survivors)} of {len(FAULTS)} faults were noticed.")
    for name in survivors:
        print(f"SURVIVED: {name}")
    return 1 if survivors else 0


def _killed(fault: Fault) -> bool:
    with tempfile.TemporaryDirectory(prefix="unshim-mutant-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
        target = tree / fault.file
        text = target.read_text()
        if text.count(fault.old) == 0:
            raise SystemExit(f"{fault.name}: {fault.file} no longer holds the text to replace")
        target.write_text(text.replace(fault.old, fault.new))
        tests = [name for name in fault.tests if (tree / name).exists()]
        code = _suite(tree, tests)
    word = {1: "killed", 0: "SURVIVED"}.get(code, f"pytest ended with {code}")
    print(f"{word:<10} {fault.name} ({fault.file})", flush=True)
    return code == 1


def _suite(tree: Path, tests: list[str]) -> int:
    argv = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not lab", *tests]
    env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    env |= {"PYTHONPATH": f"{tree}/operator:{tree}", "HOME": "/root", "LANG": "C.UTF-8"}
    try:
        done = subprocess.run(
            argv, cwd=tree, env=env, capture_output=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return 1  # a suite that hangs is not green either
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
