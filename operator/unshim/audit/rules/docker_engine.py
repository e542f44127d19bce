"""Docker Engine: its settings, the containers that are not Kubernetes', and who else uses it."""

from __future__ import annotations

from collections.abc import Iterator

from unshim.audit import links
from unshim.audit.finding import Severity
from unshim.audit.rule import Hit, NodeView, Survey, node_rule
from unshim.core.edits import docker_settings, registry_hosts
from unshim.core.edits.docker_settings import Fate
from unshim.core.facts import DockerContainer, NodeFacts
from unshim.errors import UnsupportedNode

BLOCKER, WARNING, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO

#: Settings whose loss a person should look at; the loss of others is worth a line.
_LOSSES = frozenset(
    {
        "hosts",
        "init",
        "default-init",
        "metrics-addr",
        "no-new-privileges",
        "seccomp-profile",
        "storage-opts",
        "cpu-rt-period",
        "cpu-rt-runtime",
        "tls",
        "tlsverify",
    }
)


@node_rule(
    "foreign-containers",
    BLOCKER,
    title="Docker runs containers that Kubernetes does not own",
    why="Stopping Docker would kill them: a load balancer of the API, a registry, etcd, Compose "
    "and Swarm services.",
    fix="Move them away or into pods, or migrate with keepDocker so that Docker stays up.",
    link=links.AFFECTED,
    firm=True,
)
def foreign_containers(node: NodeView, survey: Survey) -> Iterator[Hit]:
    docker = node.facts.docker if node.facts else None
    if docker is None or not docker.foreign:
        return
    keep = survey.snapshot.options is not None and survey.snapshot.options.keep_docker
    names = ", ".join(sorted(_described(container) for container in docker.foreign))
    yield Hit(
        message=f"{len(docker.foreign)} on {node.name}: {names}",
        severity=INFO if keep else BLOCKER,
    )


def _described(container: DockerContainer) -> str:
    for label, owner in (
        ("com.docker.compose.project", "Compose"),
        ("com.docker.swarm.service.name", "Swarm"),
    ):
        if value := container.labels.get(label):
            return f"{container.name.lstrip('/')} ({owner} {value})"
    return f"{container.name.lstrip('/')} ({container.image})"


@node_rule(
    "keep-docker-coupled",
    BLOCKER,
    title="Docker cannot be kept: it stops with containerd",
    why="docker.service requires containerd.service. The migration restarts containerd, systemd "
    "would stop Docker with it, and the containers to be kept would die.",
    fix="Use docker-ce 23 or later, whose unit only wants containerd, or give docker.service a "
    "drop-in that removes Requires= and BindsTo=.",
    link=links.SYSTEMD_UNIT,
    firm=True,
)
def keep_docker_coupled(node: NodeView, survey: Survey) -> Iterator[Hit]:
    options, facts = survey.snapshot.options, node.facts
    unit = facts.units.get("docker.service") if facts else None
    if options is None or not options.keep_docker or unit is None:
        return
    if "containerd.service" in (*unit.requires, *unit.binds_to):
        yield Hit(message=f"docker.service on {node.name} requires containerd.service")


@node_rule(
    "swarm",
    BLOCKER,
    title="The node is a member of a Docker Swarm",
    why="Swarm's services run beside Kubernetes and would die with Docker.",
    fix="Let the node leave the Swarm: `docker swarm leave`. Or migrate with keepDocker.",
    link=f"{links.DOCKER}reference/cli/docker/swarm/leave/",
)
def swarm(node: NodeView, survey: Survey) -> Iterator[Hit]:
    info = node.facts.docker.info if node.facts and node.facts.docker else {}
    state = str((info.get("Swarm") or {}).get("LocalNodeState", "") or "inactive")
    keep = survey.snapshot.options is not None and survey.snapshot.options.keep_docker
    if state != "inactive":
        yield Hit(message=f"Swarm is {state} on {node.name}", severity=INFO if keep else BLOCKER)


@node_rule(
    "docker-setting",
    BLOCKER,
    title="A setting of the Docker daemon has no counterpart",
    why="What the setting does today would silently stop: logs would no longer arrive, a policy "
    "would no longer be enforced, files would belong to other users.",
    fix="Decide what shall take its place, then remove the setting or ignore this rule.",
    link=f"{links.DOCKER}reference/cli/dockerd/",
)
def docker_setting(node: NodeView, _: Survey) -> Iterator[Hit]:
    if node.facts is None:
        return
    try:
        translation = docker_settings.translate(node.facts)
    except UnsupportedNode as exc:
        yield Hit(message=str(exc))
        return
    for fate in translation.blockers:
        # The cgroup driver has a rule of its own, which says more.
        if fate.key != "exec-opts":
            yield Hit(message=_told(node, fate))
    yield from _effective(node, node.facts, {fate.key for fate in translation.blockers})


def _told(node: NodeView, fate: Fate) -> str:
    return f"{fate.key} = {fate.value} on {node.name}: {fate.note}"


def _effective(node: NodeView, facts: NodeFacts, known: set[str]) -> Iterator[Hit]:
    """What the running daemon says of itself, should no file say so."""
    info = facts.docker.info if facts.docker else {}
    driver = str(info.get("LoggingDriver", "") or "json-file")
    if driver not in ("json-file", "local") and "log-driver" not in known:
        yield Hit(message=f"the daemon on {node.name} logs to {driver}; no log would arrive there")
    options = " ".join(str(option) for option in info.get("SecurityOptions") or ())
    if "name=userns" in options and "userns-remap" not in known:
        yield Hit(message=f"the daemon on {node.name} remaps user namespaces")
    if "name=rootless" in options and "rootless" not in known:
        yield Hit(message=f"the daemon on {node.name} is rootless")
    if str(info.get("DockerRootDir", "")).startswith("/var/snap/"):
        yield Hit(message=f"Docker on {node.name} is a snap, whose units and paths are its own")


@node_rule(
    "docker-setting-lost",
    INFO,
    title="A setting of the Docker daemon is lost",
    why="It has no counterpart in containerd, and mostly none is needed.",
    fix="Read what is lost, and replace it where you rely on it.",
    link=f"{links.DOCKER}reference/cli/dockerd/",
)
def docker_setting_lost(node: NodeView, _: Survey) -> Iterator[Hit]:
    if node.facts is None:
        return
    try:
        notices = docker_settings.translate(node.facts).notices
    except UnsupportedNode:
        return  # the rule docker-setting has said so
    for fate in notices:
        yield Hit(message=_told(node, fate), severity=WARNING if fate.key in _LOSSES else INFO)


@node_rule(
    "insecure-registry-range",
    WARNING,
    title="An insecure registry is given as an address range",
    why="containerd's configuration names hosts, it has no ranges. Registries that pods of this "
    "node use are carried over by name, any other in the range is not.",
    fix="Name the registries one by one in daemon.json.",
    link=f"{links.CONTAINERD}docs/hosts.md",
)
def insecure_registry_range(node: NodeView, _: Survey) -> Iterator[Hit]:
    if node.facts is None:
        return
    try:
        ranges = registry_hosts.unexpanded(node.facts)
    except UnsupportedNode:
        return
    for entry in ranges:
        yield Hit(message=f"insecure-registries on {node.name} holds {entry}")


@node_rule(
    "storage-driver",
    WARNING,
    title="Docker's storage driver is an unusual one",
    why="containerd uses overlayfs in its place. The file system under its root must support it: "
    "XFS needs ftype=1.",
    fix="See that /var/lib/containerd is on ext4, or on XFS with ftype=1.",
    link=f"{links.DOCKER}engine/storage/drivers/select-storage-driver/",
)
def storage_driver(node: NodeView, _: Survey) -> Iterator[Hit]:
    info = node.facts.docker.info if node.facts and node.facts.docker else {}
    driver = str(info.get("Driver", ""))
    pairs = {str(p[0]): str(p[1]) for p in info.get("DriverStatus") or () if len(p) == 2}
    if pairs.get("Supports d_type") == "false":
        yield Hit(
            message=f"the file system under Docker on {node.name} has no d_type; overlayfs needs "
            f"it",
            severity=BLOCKER,
        )
    elif driver in ("devicemapper", "aufs", "btrfs", "zfs", "vfs"):
        yield Hit(message=f"Docker on {node.name} uses {driver}")
