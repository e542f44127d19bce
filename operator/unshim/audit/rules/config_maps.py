"""ConfigMaps of log agents and tools that expect Docker's format, sockets or metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from unshim.audit import links
from unshim.audit.finding import Severity, Subject
from unshim.audit.rule import Hit, Survey, survey_rule
from unshim.audit.snapshot import SOURCE_KEY
from unshim.core.objects import Manifest

BLOCKER, WARNING, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sign:
    """A text that expects Docker, unless `unless` stands in the same ConfigMap.

    `found` matches no text without one of `words` (lower case): most ConfigMaps have none, and to
    look for a word is a hundred times cheaper.
    """

    found: re.Pattern[str]
    message: str
    words: tuple[str, ...] = ("docker",)
    unless: re.Pattern[str] | None = None
    only_with: re.Pattern[str] | None = None


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE | re.MULTILINE)


_CONTAINER_LOGS = _pattern(r"/var/log/(?:containers|pods)|/var/lib/docker/containers")
_CRI = _pattern(r"\bcri\b|stdout\|stderr|logtag|containerd|format[:=\s]+container\b")

_PARSERS = (
    _Sign(
        found=_pattern(r"^\s*(?:-\s*)?parser:?\s+docker(?:_no_time)?\s*$"),
        unless=_CRI,
        message="Fluent Bit parses container logs as Docker's JSON (Parser docker)",
    ),
    _Sign(
        found=_pattern(r"^\s*docker_mode:?\s+(?:on|true)\b"),
        unless=_CRI,
        message="Fluent Bit joins lines of Docker's JSON (Docker_Mode On)",
    ),
    _Sign(
        found=_pattern(r"^\s*(?:@type|format)\s+json\b"),
        words=("json",),
        only_with=_CONTAINER_LOGS,
        unless=_CRI,
        message="Fluentd parses container logs as JSON",
    ),
    _Sign(
        found=_pattern(r"^\s*-?\s*type:\s*[\"']?docker[\"']?\s*$"),
        message="Filebeat uses the docker input",
    ),
    _Sign(
        found=_pattern(r"^\s*-\s*docker:\s*(?:\{\s*\})?\s*$"),
        unless=_pattern(r"^\s*-\s*cri:"),
        message="Promtail's pipeline has the stage docker and no stage cri",
    ),
    _Sign(
        found=_pattern(r"^\s*(?:-\s*)?type:\s*[\"']?json_parser[\"']?\s*$"),
        words=("json_parser",),
        only_with=_CONTAINER_LOGS,
        unless=_pattern(_CRI.pattern + r"|type:\s*[\"']?(?:regex_parser|container)\b"),
        message="the OpenTelemetry Collector parses container logs as JSON only",
    ),
)

_EXPECTATIONS = (
    _Sign(found=_pattern(r"^\s*\[\[inputs\.docker\]\]"), message="Telegraf reads inputs.docker"),
    _Sign(
        found=_pattern(r"^\s*containerRuntimeExecutor:\s*[\"']?docker\b"),
        message="Argo Workflows uses the docker executor",
    ),
    _Sign(
        found=_pattern(r"^\s*(?:-\s*)?docker_stats(?:/\w+)?:\s*$"),
        message="the OpenTelemetry Collector's receiver docker_stats needs Docker's socket",
    ),
    _Sign(
        found=_pattern(r"^\s*type\s*[:=]\s*[\"']?docker_logs\b"),
        message="Vector's source docker_logs needs Docker's socket",
    ),
    _Sign(
        found=_pattern(r"^\s*(?:-\s*)?docker(?:swarm)?_sd_configs:|\bloki\.source\.docker\b"),
        message="targets are discovered through Docker's API",
    ),
    _Sign(
        found=_pattern(
            r"(?:^|\bexport )DOCKER_HOST\s*[:=]\s*[\"']?"
            r"(?:unix://|tcp://(?!localhost|127\.0\.0\.1|docker\b))"
        ),
        message="it sets DOCKER_HOST",
    ),
    _Sign(
        found=_pattern(r"^[\w.-]*(?:docker-monitor|health-checker-docker)[\w-]*\.json=$"),
        message="Node Problem Detector watches Docker's log, or restarts it",
    ),
    _Sign(
        found=_pattern(r"^\s*executor\s*=\s*[\"']docker(?:\+machine|-windows)?[\"']"),
        message="GitLab Runner uses the docker executor",
    ),
    _Sign(
        found=_pattern(r"(?:/var)?/run/(?:docker|dockershim|cri-dockerd)\.sock"),
        message="it names a socket of Docker's",
        unless=_pattern(r"containerd\.sock"),
    ),
    _Sign(
        found=_pattern(r"\bengine_daemon_\w+|\bname=~?\"\^?k8s_"),
        words=("engine_daemon_", "k8s_"),
        message="it uses metrics or names that only Docker gives",
    ),
)


@survey_rule(
    "log-parser",
    WARNING,
    title="A log agent expects Docker's log format",
    why="Docker writes JSON lines, containerd writes `TIME STREAM F TEXT`. A parser for one drops "
    "or garbles the other. During the rollout a cluster has both.",
    fix="Use a parser that reads both, such as Fluent Bit's `multiline.parser docker, cri`.",
    link=links.LOGGING,
)
def log_parser(survey: Survey) -> Iterator[Hit]:
    yield from _signs(survey, _PARSERS)


@survey_rule(
    "docker-in-config",
    WARNING,
    title="A ConfigMap expects Docker",
    why="Whoever reads it will look for something that containerd nodes do not have.",
    fix="Change the setting to the CRI, to containerd's socket, or to the kubelet's metrics.",
    link=links.AFFECTED,
)
def docker_in_config(survey: Survey) -> Iterator[Hit]:
    yield from _signs(survey, _EXPECTATIONS)


def _signs(survey: Survey, signs: tuple[_Sign, ...]) -> Iterator[Hit]:
    for config_map in survey.snapshot.config_maps:
        data = config_map.get("data") or {}
        text = "\n".join(f"{key}=\n{value}" for key, value in data.items())
        lower = text.lower()
        for sign in signs:
            if any(word in lower for word in sign.words) and _holds(sign, text):
                yield Hit(
                    message=sign.message,
                    subject=_subject(config_map),
                    source=str(config_map.get(SOURCE_KEY, "")),
                )


def _holds(sign: _Sign, text: str) -> bool:
    if sign.found.search(text) is None:
        return False
    if sign.only_with is not None and sign.only_with.search(text) is None:
        return False
    return sign.unless is None or sign.unless.search(text) is None


def _subject(config_map: Manifest) -> Subject:
    meta = config_map["metadata"]
    return Subject(
        kind="ConfigMap", namespace=meta.get("namespace", ""), name=str(meta.get("name", ""))
    )
