"""A node's machine over one connection: the runner's verbs, as the engine calls them.

Exit codes of the runner: 75 busy or fenced off, 76 another run is unfinished, 77 the other verdict
won (not an error here: the state that comes back says so).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from unshim import gather
from unshim.core import bundle, proof, runs
from unshim.core.facts import NodeFacts, NodeRun
from unshim.core.objects import Node, RunState
from unshim.core.steps import FileChange, ScriptStep
from unshim.errors import Busy, ForeignRun, NodeUnreachable, StepFailed
from unshim.node import PROOF, RESOLVE, script
from unshim.ports import Completed, Connector, NodeShell

BUSY, FOREIGN, LOST = 75, 76, 77
QUICK_SECONDS = 30.0
STAGE_SECONDS = 1800.0  # packages and images; the node serves all the while
GRACE_SECONDS = 20.0
RESOLVE_SECONDS = 120.0  # registries that do not answer get 20 s each, four at once


class RemoteMachine:
    """See ports.Machine."""

    def __init__(self, shell: NodeShell, node: str, run: str) -> None:
        self._shell, self._node, self._run = shell, node, run

    def facts(self) -> NodeFacts:
        return gather.facts(self._shell, self._node)

    def runs(self) -> tuple[NodeRun, ...]:
        return gather.runs(self._shell, self._node)

    def show(self) -> RunState:
        return self._verb("show", timeout=QUICK_SECONDS)

    def upload(self, parts: Mapping[str, bytes]) -> RunState:
        done = self._shell.run(bundle.upload_script(self._run, parts), timeout=QUICK_SECONDS * 2)
        self._check("upload", done, (0,))
        return RunState()

    def stage(self, token: int) -> RunState:
        return self._verb("stage", str(token), timeout=STAGE_SECONDS)

    def switch(self, token: int, dead_man_seconds: int, wait_seconds: int, until: str) -> RunState:
        text = bundle.verb_script(self._run, "switch", str(token), str(dead_man_seconds))
        text += bundle.verb_script(self._run, "wait", str(wait_seconds), until)
        return self._script("switch", text, wait_seconds + GRACE_SECONDS)

    def wait(self, seconds: int) -> RunState:
        return self._verb("wait", str(seconds), timeout=seconds + GRACE_SECONDS)

    def confirm(self, token: int) -> RunState:
        return self._verb("confirm", str(token), timeout=QUICK_SECONDS)

    def roll_back(self, reason: str) -> RunState:
        return self._verb("rollback", reason, timeout=QUICK_SECONDS * 4)

    def reopen(self, token: int | None, reason: str) -> RunState:
        fence = "local" if token is None else str(token)
        return self._verb("reopen", fence, reason, timeout=QUICK_SECONDS * 4)

    def proof(self, leaving: str = "") -> Mapping[str, str]:
        text = bundle.environment({"UNSHIM_LEAVING": leaving}) + script(PROOF)
        done = self._shell.run(text, timeout=QUICK_SECONDS)
        self._check("proof", done, (0,))
        return proof.parse_facts(done.out)

    def unpullable(
        self, variables: Mapping[str, str], hosts: Sequence[FileChange]
    ) -> Mapping[str, str]:
        text = bundle.resolve_script(variables, hosts, script(RESOLVE))
        done = self._shell.run(text, timeout=RESOLVE_SECONDS)
        self._check("unpullable", done, (0,))
        return bundle.parse_unpullable(done.out)

    def checks(
        self, steps: Sequence[ScriptStep], variables: Mapping[str, str]
    ) -> Mapping[str, int]:
        done = self._shell.run(bundle.checks_script(steps, variables), timeout=QUICK_SECONDS * 2)
        self._check("checks", done, (0,))
        return bundle.parse_checks(done.out)

    def close(self) -> None:
        self._shell.close()

    def _verb(self, verb: str, *args: str, timeout: float) -> RunState:
        return self._script(verb, bundle.verb_script(self._run, verb, *args), timeout)

    def _script(self, verb: str, text: str, timeout: float) -> RunState:
        done = self._shell.run(text, timeout=timeout)
        self._check(verb, done, (0, 1, LOST))
        return runs.parse_show(done.out)

    def _check(self, verb: str, done: Completed, fine: Sequence[int]) -> None:
        if done.code in fine:
            return
        said = (done.err or done.out).strip()[-500:]
        where = f"node {self._node}, run {self._run}, {verb}"
        if done.code == BUSY:
            raise Busy(f"{where}: another process is at work there, or a newer one was: {said}")
        if done.code == FOREIGN:
            raise ForeignRun(f"{where}: another run is unfinished there: {said}")
        raise StepFailed(f"{where}: exit code {done.code}: {said}")


class RemoteMachines:
    """See ports.Machines: tries the node's addresses in the order of `address_types`."""

    def __init__(self, connector: Callable[[], Connector], address_types: Sequence[str]) -> None:
        self._connector, self._types = connector, address_types

    def open(self, node: Node, run: str) -> RemoteMachine:
        hosts = [node.addresses[kind] for kind in self._types if node.addresses.get(kind)]
        unreachable: NodeUnreachable | None = None
        for host in hosts:
            try:
                return RemoteMachine(
                    self._connector().connect(host, node=node.name), node.name, run
                )
            except NodeUnreachable as exc:
                unreachable = exc
        raise unreachable or NodeUnreachable(
            f"node {node.name} has no address of the types {', '.join(self._types)}; set "
            "UNSHIM_ADDRESS_TYPES to one that it has. Nothing was changed."
        )
