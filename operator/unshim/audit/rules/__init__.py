"""Every rule, by id. A new module of rules is named here once; docs/rules.md follows."""

from types import ModuleType

from unshim.audit.rule import Rule
from unshim.audit.rules import (
    agents,
    cluster,
    commands,
    config_maps,
    control_plane,
    docker_engine,
    docker_paths,
    drain,
    host,
    images,
    kubelet,
    network,
    nodes,
    placement,
    plan,
    pods,
    runtime,
    security,
    sockets,
    webhooks,
)

_MODULES: tuple[ModuleType, ...] = (
    agents,
    cluster,
    commands,
    config_maps,
    control_plane,
    docker_engine,
    docker_paths,
    drain,
    host,
    images,
    kubelet,
    network,
    nodes,
    placement,
    plan,
    pods,
    runtime,
    security,
    sockets,
    webhooks,
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
