"""Known agents, by their images."""

from __future__ import annotations

from collections.abc import Iterator

from unshim.audit import links, words
from unshim.audit.agent_table import Agent, of_image
from unshim.audit.finding import Severity
from unshim.audit.rule import Hit, Survey, workload_rule
from unshim.audit.rules.runtime import version
from unshim.audit.workloads import Workload

BLOCKER, WARNING, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO


@workload_rule(
    "known-agent",
    INFO,
    title="A known agent looks at containers",
    why="It found them through Docker so far. Some versions understand containerd, some need a "
    "setting, some have no use without Docker. docs/detectors.md lists all that are known.",
    fix="Upgrade or set it up as its documentation says, before the first node moves.",
    link=links.AGENTS,
)
def known_agent(workload: Workload, _: Survey) -> Iterator[Hit]:
    for image in sorted(set(workload.images)):
        path, tag = words.repository(image)
        agent = of_image(path)
        if agent is not None and (hit := _judged(agent, image, tag)) is not None:
            yield hit


def _judged(agent: Agent, image: str, tag: str) -> Hit | None:
    if agent.docker_only:
        return Hit(message=f"{agent.name} ({image}): {agent.advice}", severity=WARNING)
    have = version(tag)
    if agent.since and len(have) >= 2:
        if have >= version(agent.since):
            return None
        return Hit(
            message=f"{agent.name} ({image}) is older than {agent.since}: {agent.advice}",
            severity=WARNING,
        )
    return Hit(message=f"{agent.name} ({image}): {agent.advice}")
