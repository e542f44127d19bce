"""The kubelet's flags: dockershim's go, containerd's endpoint comes, everything else stays.

Which flag exists until which version follows the kubelet's own sources and release notes: the
dockershim flags are gone in 1.24, `--container-runtime` in 1.27, `--pod-infra-container-image` in
1.35; a leftover one stops the kubelet from starting after the upgrade. The cgroup driver is never
touched, and neither is the pause image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unshim.core import flags
from unshim.core.edits import docker_settings, kubelet_config, kubelet_sources, node_values
from unshim.core.edits.kubelet_sources import Argument, Changes, Place
from unshim.core.facts import NodeFacts
from unshim.core.options import Options
from unshim.core.steps import FileChange
from unshim.errors import UnsupportedNode

#: Flags that only dockershim reads; the first eight left the kubelet in 1.24.
DOCKERSHIM_FLAGS = frozenset(
    {
        "experimental-dockershim-root-directory",
        "docker-endpoint",
        "image-pull-progress-deadline",
        "network-plugin",
        "cni-conf-dir",
        "cni-bin-dir",
        "cni-cache-dir",
        "network-plugin-mtu",
        "experimental-dockershim",
        "redirect-container-streaming",
        "non-masquerade-cidr",
    }
)
_RUNTIME_FLAGS = frozenset(
    {
        "container-runtime",
        "container-runtime-endpoint",
        "image-service-endpoint",
        "runtime-cgroups",
        "container-log-max-size",
        "container-log-max-files",
        "pod-infra-container-image",
    }
)
RELEVANT = DOCKERSHIM_FLAGS | _RUNTIME_FLAGS
_KUBEADM_ENV = "/var/lib/kubelet/kubeadm-flags.env"
#: The longer names first: `docker.service` is the end of `cri-docker.service`.
_DOCKER_UNITS = ("cri-dockerd.service", "cri-docker.service", "docker.service")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the command line must become. A name is in one of the two at most."""

    remove: frozenset[str]
    values: Mapping[str, str]


def edit(facts: NodeFacts, _options: Options) -> tuple[FileChange, ...]:
    """The environment files that give the kubelet its flags. Unit files are `kubelet-unit`'s."""
    units = set(kubelet_sources.unit_files(facts))
    return tuple(
        FileChange(path=path, before=facts.files[path], after=text)
        for path, text in sorted(texts(facts).items())
        if path not in units
    )


def texts(facts: NodeFacts) -> Mapping[str, str]:
    """The new text of every file, unit files too, that contributes a flag to change."""
    want = wanted(facts)
    arguments = kubelet_sources.attributed(facts, RELEVANT)
    found = flags.occurrences([argument.text for argument in arguments])
    changes = _changes(arguments, found, want)
    if not (changes.drop or changes.replace or changes.add):
        return {}
    return kubelet_sources.rewrite(facts, arguments, changes)


def wanted(facts: NodeFacts) -> Wanted:
    """The flags this node's kubelet must lose and get. Raises UnsupportedNode."""
    kubelet = kubelet_sources.running(facts)
    have = flags.effective(kubelet.argv)
    version = flags.minor(kubelet.version)
    _refuse_foreign_network(facts, have, version)
    remove = set(DOCKERSHIM_FLAGS)
    values = _endpoint(have, version)
    if version >= (1, 24):
        remove.add("container-runtime")
    if version >= (1, 35):
        remove.add("pod-infra-container-image")
    if flags.socket_path(have.get("image-service-endpoint", "")) != flags.CONTAINERD_SOCKET:
        remove.add("image-service-endpoint")
    if any(name in have.get("runtime-cgroups", "") for name in _DOCKER_UNITS):
        values["runtime-cgroups"] = _on_containerd(have["runtime-cgroups"])
    return Wanted(remove=frozenset(remove), values={**values, **_log_flags(facts, have)})


def _refuse_foreign_network(
    facts: NodeFacts, have: Mapping[str, str], version: tuple[int, int]
) -> None:
    """Without CNI, dockershim gives pods Docker's own network; containerd has no such thing."""
    dockershim = version < (1, 24) and have.get("container-runtime", "docker") == "docker"
    if dockershim:
        who, plugin = "the kubelet", have.get("network-plugin", "")
    else:  # cri-dockerd's default is cni
        who, plugin = "cri-dockerd", node_values.shim_flags(facts).get("network-plugin", "cni")
    if plugin != "cni":
        raise UnsupportedNode(
            f"{facts.hostname}: {who} runs with --network-plugin={plugin or '(unset)'}: its "
            "pods live in a network that containerd cannot provide. Nothing was changed. Move the "
            "cluster to a CNI plugin (--network-plugin=cni) first."
        )


def _endpoint(have: Mapping[str, str], version: tuple[int, int]) -> dict[str, str]:
    values = {}
    if version <= (1, 23):
        # With the endpoint alone, dockershim would delete containerd's socket and serve there.
        values["container-runtime"] = "remote"
    if version >= (1, 27) and "container-runtime-endpoint" not in have:
        return values  # the configuration file has it, or containerd is the default already
    if flags.socket_path(have.get("container-runtime-endpoint", "")) != flags.CONTAINERD_SOCKET:
        values["container-runtime-endpoint"] = flags.CONTAINERD_ENDPOINT
    return values


def _on_containerd(cgroup: str) -> str:
    for name in _DOCKER_UNITS:
        cgroup = cgroup.replace(name, "containerd.service")
    return cgroup


def _log_flags(facts: NodeFacts, have: Mapping[str, str]) -> dict[str, str]:
    """Docker's log rotation as kubelet flags: the config file belongs to the whole cluster.

    `kubeadm upgrade node` rewrites config.yaml, so a per-node setting survives as a flag only.
    A limit that the cluster has set itself, as flag or in the file, is left as it is.
    """
    rotation = docker_settings.translate(facts).log_rotation
    if rotation is None:
        return {}
    values = {"container-log-max-size": rotation.max_size}
    values["container-log-max-files"] = str(rotation.max_files)
    keys = {"container-log-max-size": "containerLogMaxSize"}
    keys["container-log-max-files"] = "containerLogMaxFiles"
    return {
        name: value
        for name, value in values.items()
        if name not in have and not kubelet_config.value(facts, keys[name])
    }


def _changes(arguments: Sequence[Argument], found: Sequence[flags.Flag], want: Wanted) -> Changes:
    drop: set[int] = set()
    replace: dict[int, str] = {}
    last = {flag.name: flag for flag in found}
    for flag in found:
        value = want.values.get(flag.name)
        if flag.name in want.remove or (value is not None and flag is not last[flag.name]):
            drop |= set(range(flag.first, flag.last + 1))
        elif value is not None and flag.value != value:
            replace[flag.first] = f"--{flag.name}={value}"
            drop |= set(range(flag.first + 1, flag.last + 1))
    add = tuple(f"--{name}={value}" for name, value in want.values.items() if name not in last)
    return Changes(replace=replace, drop=frozenset(drop), add=add, add_to=_anchor(arguments, drop))


def _anchor(arguments: Sequence[Argument], drop: set[int]) -> Place:
    """Where new flags go: kubeadm's file, else where dockershim's stood, else the last file."""
    places = [argument.place for argument in arguments]
    for place in places:
        if place.path == _KUBEADM_ENV:
            return place
    dropped = [places[number] for number in sorted(drop)]
    with_variable = [place for place in places if place.variable and place.path.startswith("/etc/")]
    return (dropped or with_variable or places)[-1]
