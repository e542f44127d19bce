"""The file edits of a migration: pure functions from a node's facts to changed texts.

Each edit returns () when nothing is to change, touches paths that no other edit touches, and raises
UnsupportedNode, naming node, file and flag, rather than guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from unshim.core import flags, images
from unshim.core.edits import (
    containerd_config,
    containerd_drop_in,
    crictl_config,
    kubelet_config,
    kubelet_flags,
    kubelet_unit,
    node_values,
    registry_hosts,
    sysctl_persistence,
)
from unshim.core.facts import NodeFacts
from unshim.core.objects import Manifest
from unshim.core.options import Options
from unshim.core.steps import FileChange
from unshim.errors import UnsupportedNode

Edit = Callable[[NodeFacts, Options], tuple[FileChange, ...]]

#: Files in which text that is not UTF-8 concerns no edit.
_UNREAD = ("/etc/sysctl.d/", "/etc/modules-load.d/", "/usr/lib/", "/etc/kubernetes/manifests/")


def _reading(edit: Edit) -> Edit:
    """The edit, refusing a node with a file that exists but could not be read as text.

    To an edit such a file looks absent, and it would be overwritten or passed over. Rules, plan and
    run ask the same question in turn: the last answer is kept.
    """
    last: list[tuple[NodeFacts, Options, tuple[FileChange, ...]]] = []

    def answered(facts: NodeFacts, options: Options) -> tuple[FileChange, ...]:
        for known, chosen, changes in last:  # none or one
            if known is facts and chosen == options:
                return changes
        changes = guarded(facts, options)
        last[:] = [(facts, options, changes)]
        return changes

    def guarded(facts: NodeFacts, options: Options) -> tuple[FileChange, ...]:
        for key, why in sorted(facts.errors.items()):
            path = key.removeprefix("file:")
            if path != key and not path.startswith(_UNREAD):
                raise UnsupportedNode(
                    f"{facts.hostname}: {path} could not be read ({why}). Nothing was changed. "
                    "Make it plain UTF-8 text and try again."
                )
        return edit(facts, options)

    return answered


EDITS: Mapping[str, Edit] = {
    "kubelet-flags": _reading(kubelet_flags.edit),
    "kubelet-config": _reading(kubelet_config.edit),
    "kubelet-unit": _reading(kubelet_unit.edit),
    "containerd-config": _reading(containerd_config.edit),
    "registry-hosts": _reading(registry_hosts.edit),
    "containerd-drop-in": _reading(containerd_drop_in.edit),
    "crictl-config": _reading(crictl_config.edit),
    "sysctl-persistence": _reading(sysctl_persistence.edit),
}

#: Paths and globs whose text the edits read, besides the units' fragments, drop-ins and environment
#: files (kubelet, docker, containerd, cri-docker, cri-dockerd) and the kubelet's --config file.
#: Private keys (*.key) are never read.
EDIT_PATHS: tuple[str, ...] = (
    "/var/lib/kubelet/kubeadm-flags.env",
    "/var/lib/kubelet/config.yaml",
    kubelet_config.INSTANCE_CONFIG,
    "/etc/default/kubelet",
    "/etc/sysconfig/kubelet",
    "/etc/kubernetes/kubelet.env",
    "/etc/docker/daemon.json",
    "/etc/docker/certs.d/*/*.crt",
    "/etc/docker/certs.d/*/*.cert",
    "/etc/containerd/config.toml",
    "/etc/containerd/certs.d/*/hosts.toml",
    "/etc/containerd/certs.d/*/*.crt",
    "/etc/containerd/certs.d/*/*.cert",
    containerd_drop_in.PATH,
    crictl_config.PATH,
    "/etc/modules-load.d/*.conf",
    "/usr/lib/modules-load.d/*.conf",
    "/etc/sysctl.d/*.conf",
    "/usr/lib/sysctl.d/*.conf",
)

#: Paths whose mere presence the edits ask for (`facts.present`).
PRESENCE_PATHS: tuple[str, ...] = crictl_config.BINARIES

#: Seconds that Docker gives a container to stop before it kills it.
STOP_SECONDS = 10


def variables(facts: NodeFacts, options: Options, pods: Sequence[Manifest]) -> dict[str, str]:
    """What the playbook's scripts know of the node, as environment variables.

    Lists are words parted by blanks. `pods` are the Kubernetes pods bound to the node.
    """
    proxies = containerd_drop_in.proxies(facts)
    return {
        "UNSHIM_CRI_SOCKET": flags.CONTAINERD_SOCKET,
        "UNSHIM_KEEP_DOCKER": "1" if options.keep_docker else "",
        "UNSHIM_DOCKER_ROOT": node_values.docker_root(facts),
        "UNSHIM_HANDOVER": " ".join(images.handover(facts, pods)),
        "UNSHIM_REHEARSE": " ".join(images.rehearse(facts, pods)),
        "UNSHIM_HTTP_PROXY": proxies.get("HTTP_PROXY", ""),
        "UNSHIM_HTTPS_PROXY": proxies.get("HTTPS_PROXY", ""),
        "UNSHIM_NO_PROXY": proxies.get("NO_PROXY", ""),
        "UNSHIM_PAUSE_IMAGE": node_values.pause_image(facts),
        "UNSHIM_SOURCE": "cri-dockerd" if node_values.uses_cri_dockerd(facts) else "dockershim",
        "UNSHIM_CNI_CACHE": node_values.shim_flag(facts, "cni-cache-dir", "/var/lib/cni/cache"),
        "UNSHIM_STOP_SECONDS": str(STOP_SECONDS),
    }
