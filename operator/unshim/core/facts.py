"""What one read-only visit to a node finds. Made by `gather`, read by edits, rules and proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A systemd unit as `systemctl show` describes it.

    `enabled` and `active` hold systemd's own words (`enabled`, `masked`, `inactive`, …), or the
    empty string when the unit does not exist.
    """

    name: str
    enabled: str = ""
    active: str = ""
    main_pid: int = 0
    fragment: str = ""
    drop_ins: tuple[str, ...] = ()
    environment_files: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    binds_to: tuple[str, ...] = ()
    wants: tuple[str, ...] = ()
    required_by: tuple[str, ...] = ()  # units that stop when this one is stopped

    @property
    def exists(self) -> bool:
        return bool(self.enabled or self.fragment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubelet:
    """The kubelet as it runs: `argv` is the ground truth of its flags."""

    version: str  # "1.20.2"
    argv: tuple[str, ...]  # /proc/<MainPID>/cmdline
    home: str = ""  # HOME in its environment; decides whether ~/.docker/config.json is read
    config_path: str = ""  # value of --config, or empty
    config_text: str = ""
    cgroup_driver: str = ""  # effective: "cgroupfs" | "systemd", from a running pod where possible
    cgroup_evidence: Mapping[str, str] = field(default_factory=dict)  # "pods" -> "systemd", …


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerContainer:
    """One line of `docker ps -a`."""

    id: str
    name: str
    image: str
    state: str  # "running", "exited", …
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def kubernetes(self) -> bool:
        """True when dockershim or cri-dockerd made it (label io.kubernetes.docker.type)."""
        return "io.kubernetes.docker.type" in self.labels


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerImage:
    """One image in Docker's store. `repo_digests` is empty when it was never pulled or pushed."""

    id: str
    repo_tags: tuple[str, ...]
    repo_digests: tuple[str, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Docker:
    """Docker Engine. `info` is `docker info --format '{{json .}}'`."""

    version: str
    info: Mapping[str, Any] = field(repr=False)  # may hold a proxy's password
    argv: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)  # dockerd's proxies
    containers: tuple[DockerContainer, ...] = ()
    images: tuple[DockerImage, ...] = ()

    @property
    def foreign(self) -> tuple[DockerContainer, ...]:
        """Containers that Kubernetes does not own and that Docker's end would end."""
        alive = ("running", "paused", "restarting")
        return tuple(c for c in self.containers if c.state in alive and not c.kubernetes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Containerd:
    """containerd as found. `config_text` is None when it has no configuration file."""

    version: str  # "1.6.20"
    config_path: str = "/etc/containerd/config.toml"
    config_text: str | None = None
    cri_loaded: bool = False  # `ctr plugins ls` says io.containerd.grpc.v1 cri ok
    k8s_containers: int = 0  # containers in the k8s.io namespace
    root: str = "/var/lib/containerd"
    images: tuple[str, ...] = ()  # names in the k8s.io namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """The file system that holds `path`. `d_type` is False on an XFS made with ftype=0."""

    path: str
    fstype: str
    free_bytes: int
    total_bytes: int
    d_type: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CniFile:
    """One file of the CNI configuration folder, in the order the runtimes sort them."""

    path: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRun:
    """A run's folder found on the node (/var/lib/unshim/<uid>)."""

    uid: str
    journal: str  # text of the journal, possibly with a torn last line
    verdict: str  # text of the verdict, or empty
    meta: str = ""  # text of meta.json


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """Everything known about one machine at one instant."""

    hostname: str
    os_release: Mapping[str, str]
    kernel: str
    architecture: str  # "x86_64"
    boot_id: str
    systemd_version: int
    root: bool  # the scripts run as root
    kubelet: Kubelet | None
    docker: Docker | None
    containerd: Containerd | None
    units: Mapping[str, Unit] = field(default_factory=dict)
    # Text of each file an edit may change; some hold proxies' passwords.
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    present: frozenset[str] = frozenset()  # paths that exist (of those asked for), folders too
    cni_files: tuple[CniFile, ...] = ()
    cni_binaries: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # folder -> names
    disks: tuple[Disk, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    docker_users: tuple[str, ...] = ()  # cron files, units and scripts that call docker
    docker_firewall: tuple[str, ...] = ()  # rules that somebody put into the chain DOCKER-USER
    runs: tuple[NodeRun, ...] = ()
    cri_dockerd_argv: tuple[str, ...] = ()  # the dockershim flags live here from kubelet 1.24 on
    limits: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # "pod" -> limit -> value
    tools: frozenset[str] = frozenset()  # commands on PATH, of those asked for
    packages: Mapping[str, str] = field(default_factory=dict)  # runtimes, Kubernetes -> version
    held: frozenset[str] = frozenset()  # packages that the package manager must not touch
    errors: Mapping[str, str] = field(default_factory=dict)  # section -> why it could not be read
