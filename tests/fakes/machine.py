"""Connections to the fake node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.fakes.node import FakeNode
from tests.fakes.world import World
from unshim.core.facts import NodeFacts, NodeRun
from unshim.core.objects import (
    Node,
    RunState,
)
from unshim.core.steps import FileChange, ScriptStep
from unshim.errors import Busy


@dataclass
class FakeMachine:
    """See ports.Machine."""

    world: World
    node: FakeNode
    sample: NodeFacts

    def facts(self) -> NodeFacts:
        return self.world.effect("node:facts", lambda: self.sample)  # type: ignore[no-any-return]

    def runs(self) -> tuple[NodeRun, ...]:
        return ()

    def show(self) -> RunState:
        return self._verb("show", lambda: None)

    def upload(self, parts: Mapping[str, bytes]) -> RunState:
        return self._verb("upload", lambda: self.node.upload(parts))

    def stage(self, token: int) -> RunState:
        return self._verb("stage", self.node.stage, token)

    def switch(self, token: int, dead_man_seconds: int, wait_seconds: int, until: str) -> RunState:
        return self._verb("switch", lambda: self.node.switch(dead_man_seconds), token)

    def wait(self, seconds: int) -> RunState:
        return self._verb("wait", lambda: None)

    def confirm(self, token: int) -> RunState:
        return self._verb("confirm", self.node.confirm, token)

    def roll_back(self, reason: str) -> RunState:
        return self._verb("roll-back", lambda: self.node.roll_back(reason))

    def reopen(self, token: int | None, reason: str) -> RunState:
        return self._verb("reopen", lambda: self.node.reopen(reason), token)

    def proof(self, leaving: str = "") -> Mapping[str, str]:
        return self.world.effect("node:proof", self._proof)  # type: ignore[no-any-return]

    def _proof(self) -> Mapping[str, str]:
        containerd = self.node.runtime.startswith("containerd")
        return proof_of("containerd" if containerd else "docker")

    def unpullable(
        self, variables: Mapping[str, str], hosts: Sequence[FileChange]
    ) -> Mapping[str, str]:
        wanted = variables["UNSHIM_REHEARSE"].split()
        found = {image: why for image, why in self.node.unpullable.items() if image in wanted}
        return self.world.effect("node:unpullable", lambda: found)  # type: ignore[no-any-return]

    def checks(
        self, steps: Sequence[ScriptStep], variables: Mapping[str, str]
    ) -> Mapping[str, int]:
        return {step.name: 1 for step in steps}

    def close(self) -> None:
        pass

    def _verb(self, name: str, act: Callable[[], None], token: int | None = None) -> RunState:
        def whole() -> RunState:
            if token is not None and token < self.node.token:
                raise Busy("a newer operator has been here")
            self.node.token = max(self.node.token, token or 0)
            act()
            return self.node.state()

        return self.world.effect(f"node:{name}", whole)  # type: ignore[no-any-return]


def proof_of(runtime: str) -> Mapping[str, str]:
    """What node/proof.sh prints on a healthy node of either runtime."""
    new = runtime == "containerd"
    endpoint = "--container-runtime-endpoint=unix:///run/containerd/containerd.sock"
    flags = f"--container-runtime=remote {endpoint}" if new else "--network-plugin=cni"
    return {
        "kubelet_active": "yes",
        "kubelet_started": "1",
        "kubelet_cmdline": f"/usr/bin/kubelet {flags}",
        "containerd_active": "yes",
        "docker_active": "no" if new else "yes",
        "socket_server": "containerd",
        "socket_listeners": "1",
        "docker_kubernetes": "0" if new else "3",
        "moby_shims": "0" if new else "3",
        "ctr_tasks": "3" if new else "0",
        "cgroup_systemd": "0",
        "cgroup_cgroupfs": "3",
        "cgroup_mismatch": "0",
        "pod_uids": "uid-agent ",
    }


@dataclass
class FakeMachines:
    world: World
    node: FakeNode
    sample: NodeFacts

    def open(self, node: Node, run: str) -> FakeMachine:
        return self.world.effect(  # type: ignore[no-any-return]
            "node:connect", lambda: FakeMachine(self.world, self.node, self.sample)
        )
