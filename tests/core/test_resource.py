"""A NodeMigration's body -> Options, with every wrong field named."""

from __future__ import annotations

from typing import Any

import pytest

from unshim.core import resource
from unshim.errors import InvalidSpec


def body(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "m", "uid": "u"}, "spec": {"node": "worker-1", **spec}}


def test_defaults_are_the_safe_ones() -> None:
    """Nothing is forced, nothing deleted, the pod's own grace is kept."""
    options = resource.parse(body()).options
    assert not options.drain.force
    assert not options.drain.delete_empty_dir_data
    assert options.drain.ignore_daemon_sets
    assert options.drain.grace_period_seconds is None
    assert options.dead_man_seconds == 180


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"node": "Bad_Node"}, "spec.node"),
        ({"node": "a; rm -rf /"}, "spec.node"),
        ({"node": ""}, "spec.node"),
        ({"dryRun": "yes"}, "spec.dryRun"),
        ({"deadManSeconds": 5}, "spec.deadManSeconds"),
        ({"deadManSeconds": True}, "spec.deadManSeconds"),
        ({"deadManSeconds": 100, "verify": {"timeoutSeconds": 90}}, "spec.verify.timeoutSeconds"),
        ({"drain": {"timeoutSeconds": 0}}, "spec.drain.timeoutSeconds"),
        ({"drain": {"gracePeriodSeconds": "1"}}, "spec.drain.gracePeriodSeconds"),
        ({"drain": [1]}, "spec.drain"),
        ({"playbook": "../etc/passwd"}, "spec.playbook"),
        ({"verify": {"canaryImage": "a\nb"}}, "spec.verify.canaryImage"),
        ({"audit": {"ignore": "all"}}, "spec.audit.ignore"),
        ({"rollback": 1}, "spec.rollback"),
    ],
)
def test_a_wrong_field_is_named(spec: dict[str, Any], field: str) -> None:
    """Before anything is touched, the error says which field and what was expected."""
    with pytest.raises(InvalidSpec, match=field.replace(".", r"\.")):
        resource.parse(body(**spec))


def test_the_node_of_a_begun_run_cannot_move() -> None:
    """Editing spec.node takes the begun run back on the node where it began."""
    changed = body(node="worker-2") | {"status": {"node": "worker-1"}}
    parsed = resource.parse(changed)
    assert (parsed.options.node, parsed.roll_back) == ("worker-1", True)
