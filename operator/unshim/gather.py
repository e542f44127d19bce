"""Facts of one node in one exec. Used by audit and preflight, so they can never disagree."""

from __future__ import annotations

import shlex

from unshim.core import edits, facts_parse
from unshim.core.facts import NodeFacts, NodeRun
from unshim.errors import StepFailed
from unshim.node import FACTS, script
from unshim.ports import Completed, NodeShell

FACTS_SECONDS = 60.0  # an ordinary node answers within one
RUNS_SECONDS = 15.0


def facts(shell: NodeShell, node: str) -> NodeFacts:
    """Everything about the node, read without changing it.

    What could not be read is named in `errors`. Raises NodeUnreachable, or StepFailed when the node
    could not run the script at all.
    """
    done = shell.run(facts_script(), timeout=FACTS_SECONDS)
    return facts_parse.parse(_output(done, node))


def runs(shell: NodeShell, node: str) -> tuple[NodeRun, ...]:
    """The runs found on the node alone: quick, and needs neither Docker nor containerd."""
    done = shell.run(runs_script(), timeout=RUNS_SECONDS)
    return facts_parse.parse_runs(_output(done, node))


def facts_script() -> str:
    """The script with the paths that edits ask for. These are constants, blanks and all."""
    paths = shlex.quote(" ".join(edits.EDIT_PATHS))
    present = shlex.quote(" ".join(edits.PRESENCE_PATHS))
    return f"UNSHIM_PATHS={paths}\nUNSHIM_PRESENT={present}\n{script(FACTS)}"


def runs_script() -> str:
    return f"UNSHIM_ONLY=runs\n{script(FACTS)}"


def _output(done: Completed, node: str) -> str:
    if done.code != 0 and "\t" not in done.out:
        raise StepFailed(
            f"Node {node}: its facts could not be read (exit code {done.code}): "
            f"{(done.err or done.out).strip()[-500:]}. Nothing was changed. It needs a POSIX sh, "
            "coreutils, awk, sed and grep."
        )
    return done.out
