"""What a person chose for one run: the spec of a NodeMigration, validated (see `resource`)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainOptions:
    """kubectl drain's own words and meanings."""

    grace_period_seconds: int | None = None  # None: each pod's own
    timeout_seconds: int = 900
    force: bool = False  # also pods that no controller owns
    delete_empty_dir_data: bool = False
    ignore_daemon_sets: bool = True
    pod_selector: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """The proof's limits."""

    timeout_seconds: int = 120
    readings: int = 3  # good readings in a row
    canary_image: str = ""  # empty: the operator's setting; "-": no canary


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One run. `node` is the Node's name."""

    node: str
    dry_run: bool = False
    keep_docker: bool = False  # leave Docker running for containers that Kubernetes does not own
    dead_man_seconds: int = 180
    playbook: str = "docker-to-containerd"
    drain: DrainOptions = field(default_factory=DrainOptions)
    verify: VerifyOptions = field(default_factory=VerifyOptions)
    ignore_rules: tuple[str, ...] = ()
