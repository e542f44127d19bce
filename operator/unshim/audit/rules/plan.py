"""What the migration itself would refuse: its edits, tried on the node's facts."""

from __future__ import annotations

from collections.abc import Iterator

from unshim.audit.finding import Severity, Subject
from unshim.audit.rule import Hit, NodeView, Survey, node_rule, survey_rule
from unshim.core import edits
from unshim.core.facts import NodeFacts
from unshim.core.options import Options
from unshim.errors import UnsupportedNode


@node_rule(
    "edit-refused",
    Severity.BLOCKER,
    title="A file of the node cannot be edited with certainty",
    why="The migration edits files only when it knows what each change does. Here it would have to "
    "guess: a kubelet flag that no file explains, a containerd configuration that says otherwise.",
    fix="The message names the file. Put it right, or make it say what really runs, and try again.",
    firm=True,
)
def edit_refused(node: NodeView, survey: Survey) -> Iterator[Hit]:
    facts = node.facts
    if facts is None or facts.kubelet is None or not facts.kubelet.argv:
        return  # another rule says so
    options = survey.snapshot.options or Options(node=node.name)
    for message in sorted(set(_refusals(node, facts, options))):
        yield Hit(message=message)


def _refusals(node: NodeView, facts: NodeFacts, options: Options) -> Iterator[str]:
    for edit in edits.EDITS.values():
        try:
            edit(facts, options)
        except UnsupportedNode as exc:
            yield str(exc)
    try:
        edits.variables(facts, options, node.pods)
    except UnsupportedNode as exc:
        yield str(exc)


@survey_rule(
    "api-only",
    Severity.INFO,
    title="Nodes were looked at through the API only",
    why="What is on the nodes themselves, such as Docker's settings, CNI files, foreign containers "
    "and disk space, was not looked at.",
    fix="Audit with SSH before you migrate; every migration does so by itself.",
)
def api_only(survey: Survey) -> Iterator[Hit]:
    docker = [node for node in survey.nodes if node.on_docker]
    unread = [node.name for node in docker if node.facts is None]
    if unread:
        yield Hit(
            message=f"{len(unread)} of {len(docker)} nodes that run Docker",
            subject=Subject(kind="Cluster", name="nodes"),
            nodes=tuple(unread[:20]),
        )
