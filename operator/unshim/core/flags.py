"""The kubelet's command line, read as the kubelet reads it. Shared by edits, proof and audit.

`/proc/<MainPID>/cmdline` is the ground truth of the effective flags; files only explain it. A flag
is written `--name=value` or `--name value`, with hyphens or underscores, and the last one wins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
CONTAINERD_ENDPOINT = f"unix://{CONTAINERD_SOCKET}"

#: The kubelet's flags that take no separate value (source and --help of 1.20, plus later ones).
_BOOLEANS_TEXT = """
    add-dir-header allow-privileged alsologtostderr anonymous-auth authentication-token-webhook
    cgroups-per-qos containerized contention-profiling cpu-cfs-quota docker-only docker-tls
    enable-cadvisor-json-endpoints enable-controller-attach-detach enable-debugging-handlers
    enable-load-reader enable-server exit-on-lock-contention
    experimental-allocatable-ignore-eviction experimental-check-node-capabilities-before-mount
    experimental-dockershim experimental-fail-swap-on experimental-kernel-memcg-notification
    experimental-logging-sanitization fail-cgroupv1 fail-swap-on help keep-terminated-pod-volumes
    kernel-memcg-notification log-cadvisor-usage logtostderr make-iptables-util-chains one-output
    protect-kernel-defaults really-crash-for-testing
    redirect-container-streaming register-node register-schedulable rotate-certificates
    rotate-server-certificates runonce seccomp-default serialize-image-pulls skip-headers
    skip-log-headers windows-service
"""
BOOLEANS = frozenset(_BOOLEANS_TEXT.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One occurrence of a flag. `first` and `last` are the indexes of the words that write it."""

    name: str  # with hyphens, without dashes
    value: str  # "true" for a bare boolean
    first: int
    last: int


def normalise(name: str) -> str:
    """The kubelet's own spelling of a flag: hyphens, no leading dashes."""
    return name.lstrip("-").replace("_", "-")


def occurrences(words: Sequence[str]) -> tuple[Flag, ...]:
    """Every flag in `words` in order. Words that belong to no flag are passed over."""
    found: list[Flag] = []
    index = 0
    while index < len(words):
        flag = _flag_at(words, index)
        if flag is not None:
            found.append(flag)
            index = flag.last
        index += 1
    return tuple(found)


def _flag_at(words: Sequence[str], index: int) -> Flag | None:
    word = words[index]
    if not re.match(r"--[A-Za-z]", word):
        return None
    name, equals, value = word.partition("=")
    name = normalise(name)
    if equals:
        return Flag(name=name, value=value, first=index, last=index)
    follower = words[index + 1] if index + 1 < len(words) else None
    if name in BOOLEANS or follower is None or follower.startswith("--"):
        return Flag(name=name, value="true", first=index, last=index)
    return Flag(name=name, value=follower, first=index, last=index + 1)


def effective(argv: Sequence[str]) -> Mapping[str, str]:
    """What the kubelet runs with: normalised name to value, the last occurrence winning."""
    return {flag.name: flag.value for flag in occurrences(argv[1:])}


def minor(version: str) -> tuple[int, int]:
    """The first two numbers of a version such as `1.20.2`, `v1.23.17+k3s1` or `20.10.24`.

    Raises ValueError when the text does not start with two numbers.
    """
    match = re.match(r"v?(\d+)\.(\d+)", version)
    if match is None:
        raise ValueError(f"{version!r} is not a version")
    return int(match[1]), int(match[2])


def socket_path(endpoint: str) -> str:
    """The path of a CRI endpoint, `/var/run` written as `/run`: both spellings name one socket."""
    path = endpoint.removeprefix("unix://")
    path = "/" + path.lstrip("/") if path else ""
    return "/run/" + path.removeprefix("/var/run/") if path.startswith("/var/run/") else path


def on_containerd(argv: Sequence[str], version: str, config_endpoint: str = "") -> bool:
    """True when a kubelet with this command line talks to containerd.

    Up to 1.23 both `--container-runtime=remote` and the endpoint are needed: with the endpoint
    alone dockershim deletes containerd's socket and serves itself there. From 1.27 on the config
    file's `containerRuntimeEndpoint` counts where the flag is absent.
    """
    flags = effective(argv)
    endpoint = flags.get("container-runtime-endpoint", "")
    if minor(version) >= (1, 27):
        endpoint = endpoint or config_endpoint or CONTAINERD_ENDPOINT
    remote = flags.get("container-runtime", "docker") == "remote" or minor(version) >= (1, 24)
    return remote and socket_path(endpoint) == CONTAINERD_SOCKET
