"""Docker's mirrors, insecure registries and certificates as containerd's certs.d/<host>/hosts.toml.

Docker applies mirrors to docker.io only, and reaches an insecure registry by https without checks
first and by http then. Certificates are copied; private keys never leave /etc/docker/certs.d and
are named where they are. A hosts.toml that is there already stays as it is: somebody wrote it for
containerd.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from unshim.core import images
from unshim.core.edits import docker_settings, toml_text
from unshim.core.facts import NodeFacts
from unshim.core.options import Options
from unshim.core.steps import FileChange

DOCKER_CERTS = "/etc/docker/certs.d"
CONTAINERD_CERTS = "/etc/containerd/certs.d"
_DOCKER_HUB = "docker.io"
_HUB_SERVER = "https://registry-1.docker.io"
_PULL = ["pull", "resolve"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """Docker's files for one registry host, by their names."""

    ca: tuple[str, ...] = ()
    client: tuple[str, ...] = ()


def edit(facts: NodeFacts, _options: Options) -> tuple[FileChange, ...]:
    """hosts.toml of every registry that Docker treats specially, and the certificates beside it."""
    documents = _documents(facts)
    changes = []
    for host, document in sorted(documents.items()):
        path = f"{CONTAINERD_CERTS}/{host}/hosts.toml"
        if path not in facts.files:
            changes.append(FileChange(path=path, before=None, after=toml_text.dumps(document)))
    hosts = {change.path.split("/")[-2] for change in changes}
    return (*changes, *_copies(facts, hosts | _mirror_hosts(facts)))


def unexpanded(facts: NodeFacts) -> tuple[str, ...]:
    """CIDRs of insecure registries: which named hosts they cover only the node's resolver knows."""
    insecure = docker_settings.translate(facts).insecure
    return tuple(entry for entry in insecure if _network(entry) and not _loopback(entry))


def _documents(facts: NodeFacts) -> dict[str, Mapping[str, Any]]:
    docker = docker_settings.translate(facts)
    insecure = _insecure_hosts(facts, docker.insecure)
    certificates = _certificates(facts)
    documents: dict[str, Mapping[str, Any]] = {
        host: _registry(host, host in insecure, certificates.get(host, Certificates()))
        for host in {*insecure, *certificates}
        if host != _DOCKER_HUB
    }
    if docker.mirrors:
        documents[_DOCKER_HUB] = _hub(docker.mirrors, insecure, certificates)
    return documents


def _registry(host: str, insecure: bool, certificates: Certificates) -> Mapping[str, Any]:
    server = f"https://{host}"
    access = _access(host, insecure, certificates)
    hosts: dict[str, Any] = {server: {"capabilities": _PULL, **access}}
    if insecure:
        hosts[f"http://{host}"] = {"capabilities": _PULL}
    # The access keys stand at the top for `server` and in [host] for that host: each needs its own.
    return {"server": server, **access, "host": hosts}


def _hub(
    mirrors: Iterable[str], insecure: set[str], certificates: Mapping[str, Certificates]
) -> Mapping[str, Any]:
    hosts: dict[str, Any] = {}
    for mirror in mirrors:
        url = (mirror if "://" in mirror else f"https://{mirror}").rstrip("/")
        scheme, _, host = url.partition("://")
        if scheme == "https":
            own = certificates.get(host, Certificates())
            access = _access(host, host in insecure, own, folder=f"../{host}/")
            hosts[url] = {"capabilities": _PULL, **access}
        else:
            hosts[url] = {"capabilities": _PULL}
    return {"server": _HUB_SERVER, "host": hosts}


def _access(
    host: str, insecure: bool, certificates: Certificates, *, folder: str = ""
) -> dict[str, Any]:
    """How to reach a host. Paths are relative, so that certs.d can be tried before it is in place.

    `folder` leads from the hosts.toml to the host's own folder, where that is another one.
    """
    access: dict[str, Any] = {}
    if certificates.ca:
        access["ca"] = [f"{folder}{name}" for name in certificates.ca]
    if certificates.client:
        access["client"] = [
            [
                f"{folder}{name}",
                f"{DOCKER_CERTS}/{host}/{name.removesuffix('.cert')}.key",
            ]
            for name in certificates.client
        ]
    if insecure:
        access["skip_verify"] = True
    return access


def _certificates(facts: NodeFacts) -> dict[str, Certificates]:
    found: dict[str, list[str]] = {}
    for path in sorted(facts.files):
        if path.startswith(f"{DOCKER_CERTS}/") and path.endswith((".crt", ".cert")):
            host, _, name = path.removeprefix(f"{DOCKER_CERTS}/").partition("/")
            if name and "/" not in name:
                found.setdefault(host, []).append(name)
    return {
        host: Certificates(
            ca=tuple(name for name in names if name.endswith(".crt")),
            client=tuple(name for name in names if name.endswith(".cert")),
        )
        for host, names in found.items()
    }


def _mirror_hosts(facts: NodeFacts) -> set[str]:
    mirrors = docker_settings.translate(facts).mirrors
    return {mirror.rpartition("://")[2].rstrip("/") for mirror in mirrors}


def _copies(facts: NodeFacts, hosts: set[str]) -> tuple[FileChange, ...]:
    changes = []
    for host, certificates in sorted(_certificates(facts).items()):
        if host not in hosts:
            continue
        for name in (*certificates.ca, *certificates.client):
            path = f"{CONTAINERD_CERTS}/{host}/{name}"
            before = facts.files.get(path)
            after = facts.files[f"{DOCKER_CERTS}/{host}/{name}"]
            if before is None:
                changes.append(FileChange(path=path, before=before, after=after))
    return tuple(changes)


def _insecure_hosts(facts: NodeFacts, entries: Iterable[str]) -> set[str]:
    """Hosts as they are; a CIDR becomes those of its addresses that images come from."""
    hosts: set[str] = set()
    used = {images.registry(ref) for image in _node_images(facts) for ref in image}
    for entry in entries:
        network = _network(entry)
        if network is None:
            hosts.add(entry.rpartition("://")[2].rstrip("/"))
        elif not _loopback(entry):
            hosts |= {host for host in used if _inside(host, network)}
    return hosts


def _node_images(facts: NodeFacts) -> list[tuple[str, ...]]:
    found = facts.docker.images if facts.docker else ()
    return [(*image.repo_tags, *image.repo_digests) for image in found]


_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _network(entry: str) -> _Network | None:
    if "/" not in entry or "://" in entry:
        return None
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None


def _loopback(entry: str) -> bool:
    network = _network(entry)
    return network is not None and network.is_loopback


def _inside(host: str, network: _Network) -> bool:
    address = host.rsplit(":", 1)[0].strip("[]")
    try:
        return ipaddress.ip_address(address) in network
    except ValueError:
        return False
