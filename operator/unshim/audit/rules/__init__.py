"""Every rule, by id. A new module of rules is named here once; docs/rules.md follows."""

from types import ModuleType

from unshim.audit.rule import Rule
from unshim.audit.rules import (
    control_plane,
    docker_engine,
    drain,
    images,
    kubelet,
    network,
    nodes,
    runtime,
)

_MODULES: tuple[ModuleType, ...] = (
    control_plane,
    docker_engine,
    drain,
    images,
    kubelet,
    network,
    nodes,
    runtime,
)

RULES: tuple[Rule, ...] = tuple(
    sorted(
        (
            value
            for module in _MODULES
            for value in vars(module).values()
            if isinstance(value, Rule)
        ),
        key=lambda rule: rule.id,
    )
)
