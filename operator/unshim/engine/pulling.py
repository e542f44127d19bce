"""Whether containerd could pull what the node's pods pull: asked of registries, nothing is kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from unshim.core import edits
from unshim.core.facts import NodeFacts
from unshim.core.objects import Manifest
from unshim.core.options import Options
from unshim.engine import canaries
from unshim.engine.tools import Tools
from unshim.errors import StepFailed, UnsupportedNode
from unshim.ports import Machine

_WORDS = "UNSHIM_REHEARSE"


def failures(
    tools: Tools, machine: Machine, facts: NodeFacts, options: Options, pods: Sequence[Manifest]
) -> Mapping[str, str]:
    """Image to the reason why; empty where the node cannot ask. `pods` are those of the node.

    One request for a manifest an image, which registries count as a pull: for nodes that a person
    or a run has named, not for a whole cluster.
    """
    try:
        variables = edits.variables(facts, options, canaries.served(tools, options, pods))
        hosts = edits.EDITS["registry-hosts"](facts, options)
        return machine.unpullable(variables, hosts) if variables[_WORDS] else {}
    except (UnsupportedNode, StepFailed):
        return {}


def accepted(variables: Mapping[str, str], unpullable: Collection[str]) -> dict[str, str]:
    """The playbook's variables, without the images that the audit let pass though they fail."""
    left = [image for image in variables[_WORDS].split() if image not in unpullable]
    return {**variables, _WORDS: " ".join(left)}
