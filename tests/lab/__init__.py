"""The lab: a real kubeadm cluster on dockershim, on one machine, for tests and for people."""

from tests.lab.lab import Lab
from tests.lab.nodes import Node

__all__ = ["Lab", "Node"]
