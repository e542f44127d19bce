"""The shipped playbook on a real node of the lab, driven as the operator drives it, without one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.lab import Lab
from tests.lab.nodes import Node
from tests.lab.shells import wait
from unshim import gather, playbooks
from unshim.core import bundle, edits, runs
from unshim.core.journal import Event
from unshim.core.objects import RunState
from unshim.core.options import Options
from unshim.engine import planning
from unshim.node import RUNNER, script
from unshim.ports import Completed

LEFTOVERS = """
ctr -n k8s.io containers ls -q
ctr -n k8s.io tasks ls -q
ls -d /run/netns/cni-*
for lease in /var/lib/cni/networks/*/[0-9]*; do
    id=$(head -n 1 "$lease" | tr -d '\\r')
    [ -d "/var/lib/docker/containers/$id" ] || echo "$lease $id"
done
"""


#: A program that is slow at its start, and says what it has begun.
SLOW = """#!/bin/sh
case "$*$CNI_COMMAND" in
*create*) bundle=$(printf '%s\\n' "$@" | grep -x -A 1 -e --bundle | tail -n 1)
    grep -o 'container-type":"[a-z]*' "$bundle/config.json" >>/run/slow; sleep 3 ;;
ADD) echo network >>/run/slow; sleep 3 ;;
esac
exec {real} "$@"
"""


class LabShell:
    """A NodeShell that enters the node's namespaces: its sshd plays no part here."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def run(self, script: str, *, timeout: float) -> Completed:
        done = self._node.exec("sh -s", input=script, check=False, timeout=timeout)
        return Completed(code=done.returncode, out=done.stdout, err=done.stderr)

    def close(self) -> None:
        return


class Transaction:
    """One run of the shipped playbook on one node."""

    def __init__(self, lab: Lab, name: str, run: str) -> None:
        self._lab, self._name, self.run = lab, name, run
        self.node = lab.node(name)
        self.shell = LabShell(self.node)
        self.before: Mapping[str, str] = {}

    def stage(self) -> None:
        """Plan, upload, stage: the node still serves."""
        self.before = self.node.listing()
        options = Options(node=self._name)
        facts = gather.facts(self.shell, self._name)
        playbook = playbooks.load(options.playbook)
        pods = self._lab.get("pods", "-A", "--field-selector", f"spec.nodeName={self._name}")
        parts = bundle.build(
            self.run,
            playbook,
            planning.changes(playbook, facts, options),
            edits.variables(facts, options, pods["items"]),
            {"node": self._name},
            script(RUNNER),
        )
        done = self.shell.run(bundle.upload_script(self.run, parts), timeout=60)
        assert done.code == 0, done.err
        assert self.verb("stage", "1").journal.has(Event.STAGED)

    def verb(self, verb: str, *args: str, timeout: float = 300) -> RunState:
        text = bundle.verb_script(self.run, verb, *args)
        return runs.parse_show(self.shell.run(text, timeout=timeout).out)

    def switch(self, dead_man: int = 180) -> None:
        """Start the transaction; returns at once."""
        self.verb("switch", "1", str(dead_man))

    def events(self) -> list[str]:
        return [f"{e.event} {e.step}".strip() for e in self.verb("show").journal.entries]

    def await_event(self, word: str, seconds: float = 120) -> None:
        """Until the journal holds the word, such as `started stop-docker`, or `end`."""
        wait(lambda: word in self.events(), seconds, f"{word!r} in the journal", every=0.02)

    @contextmanager
    def slow(self, program: str) -> Iterator[None]:
        """While inside, each container's runc, or each pod's network, takes 3 s."""
        real = {"runc": "/usr/sbin/runc", "bridge": "/usr/lib/cni/bridge"}[program]
        put = f"cat >{real}.new && chmod 755 {real}.new && mv {real}.new {real}"
        kept = f"rm -f /run/slow; cp -a {real} {real}.fast"
        self.node.exec(f"{kept} && {put}", input=SLOW.format(real=f"{real}.fast"))
        try:
            yield
        finally:
            self.node.exec(f"mv {real}.fast {real}")

    def await_slow(self, what: str) -> None:
        """Until such a program has begun with what: `sandbox`, `container`, `network`."""
        asked = f"grep -q {what}$ /run/slow"
        wait(lambda: self.node.exec(asked, check=False).returncode == 0, 60, f"a {what}")

    def await_ended(self, verdict: str) -> None:
        self.await_event("end")
        state = self.verb("show")
        assert state.verdict == verdict, str(state.journal)

    def assert_as_before(self) -> None:
        """Files and units equal the listing before; the kubelet serves on Docker with its pods."""
        wait(self._serves_on_docker, 90, f"{self._name} to serve on Docker again")
        wait(lambda: not self._difference(), 20, "the node to be as before: see the difference")
        wait(lambda: not self._leftovers(), 60, "containerd's pods and addresses to be gone")

    def _difference(self) -> list[str]:
        after, before = self.node.listing(), self.before
        keys = sorted({*after, *before})
        found = [
            f"{k}: {before.get(k)} -> {after.get(k)}" for k in keys if after.get(k) != before.get(k)
        ]
        print("\n".join(found))
        return found

    def _leftovers(self) -> str:
        """Containers of Kubernetes in containerd, and addresses that no Docker sandbox has."""
        found = self.node.exec(LEFTOVERS, check=False).stdout
        print(found)
        return found

    def _serves_on_docker(self) -> bool:
        units = ("docker.service", "docker.socket", "kubelet.service", "containerd.service")
        active = all(self._active(unit) for unit in units)
        return active and any("agent" in name for name in self.node.docker_k8s_containers())

    def _active(self, unit: str) -> bool:
        return self.node.exec(f"systemctl is-active -q {unit}", check=False).returncode == 0
