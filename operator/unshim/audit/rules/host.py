"""The machine under the node: what else there looks at Docker, and what goes away with it."""

from __future__ import annotations

from collections.abc import Iterator

from unshim.audit import links
from unshim.audit.finding import Severity
from unshim.audit.rule import Hit, NodeView, Survey, node_rule
from unshim.core.edits import docker_settings
from unshim.core.facts import NodeFacts
from unshim.errors import UnsupportedNode

BLOCKER, WARNING, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO

#: Units that many sites run on their nodes -> the agent, and what to do about its Docker part.
_AGENTS = {
    "amazon-cloudwatch-agent.service": "CloudWatch agent: give it containerd's socket",
    "collectd.service": "collectd: its docker plugin finds nothing",
    "datadog-agent.service": "Datadog: set cri_socket_path and turn its docker check off",
    "dragent.service": "Sysdig: give it containerd's socket",
    "elastic-agent.service": "Elastic Agent: use its Kubernetes integration, not Docker's",
    "filebeat.service": "Filebeat: use the container input, not the docker one",
    "fluent-bit.service": "Fluent Bit: read both log formats (multiline.parser docker, cri)",
    "metricbeat.service": "Metricbeat: its docker module finds nothing",
    "netdata.service": "Netdata: names of containers come from the Kubernetes API instead",
    "newrelic-infra.service": "New Relic: containers come from its Kubernetes integration instead",
    "node-problem-detector.service": "Node Problem Detector: replace docker-monitor.json and the "
    "docker health check, which would restart Docker",
    "osqueryd.service": "osquery: its docker_ tables stay empty",
    "td-agent.service": "Fluentd: parse with fluent-plugin-parser-cri or a multi-format parser",
    "telegraf.service": "Telegraf: inputs.docker finds nothing",
    "zabbix-agent.service": "Zabbix: its docker items are not supported any more",
    "zabbix-agent2.service": "Zabbix: its docker items are not supported any more",
}


def _listed(things: tuple[str, ...], most: int = 8) -> str:
    more = f" and {len(things) - most} more" if len(things) > most else ""
    return f"{', '.join(things[:most])}{more}"


@node_rule(
    "docker-users",
    WARNING,
    title="Something on the node itself uses Docker",
    why="Cron jobs, timers, scripts and agents that call docker or hold its socket open stop "
    "working, or start Docker again through its socket.",
    fix="Change them to crictl or ctr, or remove them.",
    link=links.AFFECTED,
)
def docker_users(node: NodeView, _: Survey) -> Iterator[Hit]:
    users = tuple(u for u in (node.facts.docker_users if node.facts else ()) if not _rotates(u))
    if users:
        yield Hit(message=f"{len(users)} on {node.name}: {_listed(users)}")


def _rotates(user: str) -> bool:
    return user.startswith("/etc/logrotate.d/")


@node_rule(
    "docker-log-rotation",
    WARNING,
    title="logrotate turns over Docker's container logs",
    why="After the migration these rules find no new file, and the kubelet rotates container logs "
    "instead: 10 MiB and 5 files of each, unless Docker's log-opts say otherwise. Rules that were "
    "moved to /var/log/pods would take files away under the kubelet's hands.",
    fix="Remove the rules once the node has moved, and set containerLogMaxSize and "
    "containerLogMaxFiles of the kubelet to what you need.",
    link=f"{links.LOGGING}#log-rotation",
)
def docker_log_rotation(node: NodeView, _: Survey) -> Iterator[Hit]:
    files = tuple(u for u in (node.facts.docker_users if node.facts else ()) if _rotates(u))
    if files:
        yield Hit(message=f"{_listed(files)} on {node.name}")


@node_rule(
    "host-agent",
    INFO,
    title="An agent on the machine has a part for Docker",
    why="It runs as a systemd unit, outside Kubernetes, so no manifest tells of it. Whether its "
    "Docker part is turned on is in its own configuration.",
    fix="Look into its configuration, and set it up for containerd before the first node moves.",
    link=links.AGENTS,
)
def host_agent(node: NodeView, _: Survey) -> Iterator[Hit]:
    units = node.facts.units if node.facts else {}
    for name, advice in _AGENTS.items():
        unit = units.get(name)
        if unit is not None and unit.active == "active":
            yield Hit(message=f"{name} on {node.name}. {advice}")


@node_rule(
    "docker-firewall",
    WARNING,
    title="Firewall rules hang on Docker's chain DOCKER-USER",
    why="dockerd makes the chain and leads all forwarded traffic through it, that of pods too. The "
    "rules stay until the next reboot. After it nobody makes the chain again, and what they "
    "forbade is allowed.",
    fix="Move the rules to NetworkPolicies, or to a chain that your own firewall sets up.",
    link=f"{links.DOCKER}engine/network/packet-filtering-firewalls/",
)
def docker_firewall(node: NodeView, _: Survey) -> Iterator[Hit]:
    rules = node.facts.docker_firewall if node.facts else ()
    if rules:
        yield Hit(message=f"{len(rules)} rules on {node.name}, such as {rules[0]}")


@node_rule(
    "docker-not-systemd",
    BLOCKER,
    title="Docker Engine is not the running docker.service",
    why="The node reports Docker, but systemd does not run it as docker.service: it is a snap, it "
    "was started by hand, or its unit has another name. The migration stops docker.service and "
    "docker.socket; this Docker would go on beside containerd.",
    fix="Let Docker run as docker.service, as its packages set it up.",
    link=f"{links.DOCKER}engine/daemon/start/",
    firm=True,
)
def docker_not_systemd(node: NodeView, _: Survey) -> Iterator[Hit]:
    facts = node.facts
    if facts is None or "units" in facts.errors:
        return
    unit = facts.units.get("docker.service")
    if unit is None or unit.active != "active":
        snap = facts.units.get("snap.docker.dockerd.service")
        other = "; the snap's own service runs" if snap and snap.active == "active" else ""
        state = (unit.active or "there, but not active") if unit else "missing"
        yield Hit(message=f"docker.service on {node.name} is {state}{other}")


@node_rule(
    "selinux-root",
    WARNING,
    title="containerd's folder may lack its SELinux labels",
    why="SELinux is enforcing and Docker runs with selinux-enabled, which is carried over. The "
    "policy labels /var/lib/containerd; with another root, containers may not read their own "
    "files.",
    fix="`semanage fcontext -a -e /var/lib/containerd ROOT && restorecon -R ROOT`.",
    link=f"{links.DOCKER}reference/cli/dockerd/",
)
def selinux_root(node: NodeView, _: Survey) -> Iterator[Hit]:
    facts = node.facts
    if facts is None or facts.containerd is None or not _confined(facts):
        return
    if facts.containerd.root.rstrip("/") != "/var/lib/containerd":
        yield Hit(message=f"{node.name}: containerd's root is {facts.containerd.root}")


def _confined(facts: NodeFacts) -> bool:
    if facts.files.get("/sys/fs/selinux/enforce", "").strip() != "1":
        return False
    try:
        return docker_settings.translate(facts).selinux
    except UnsupportedNode:
        return False  # the rule docker-setting has said so
