"""A small world that holds state: one cluster, one node with a model of the runner, one clock.

Used to explore thousands of crash and fault orders quickly. Everything shown here is shown again on
the real cluster of tests/lab; the model is checked against the real runner in tests/node.
"""

from tests.fakes.cluster import MASTER, FakeCluster, control_plane, pod
from tests.fakes.machine import FakeMachine, FakeMachines, proof_of
from tests.fakes.node import FakeNode, PowerCut
from tests.fakes.world import DOCKERSHIM, START, Crash, FakeClock, Faults, World

__all__ = [
    "DOCKERSHIM",
    "MASTER",
    "START",
    "Crash",
    "FakeClock",
    "FakeCluster",
    "FakeMachine",
    "FakeMachines",
    "FakeNode",
    "Faults",
    "PowerCut",
    "World",
    "control_plane",
    "pod",
    "proof_of",
]
