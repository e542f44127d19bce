"""The pod network: CNI as dockershim read it, and as containerd will."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from unshim.audit import links
from unshim.audit.finding import Severity
from unshim.audit.rule import Hit, NodeView, Survey, node_rule
from unshim.core import flags
from unshim.core.facts import CniFile, NodeFacts

BLOCKER, WARNING, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO


@node_rule(
    "network-plugin",
    BLOCKER,
    title="Pods do not use CNI",
    why="Without --network-plugin=cni, pods live in Docker's own bridge or in kubenet's. "
    "containerd offers neither: after the switch there would be no pod network.",
    fix="Move the cluster to a CNI plugin first.",
    link=f"{links.K8S}concepts/extend-kubernetes/compute-storage-net/network-plugins/",
    firm=True,
)
def network_plugin(node: NodeView, _: Survey) -> Iterator[Hit]:
    if node.facts is None or node.facts.kubelet is None:
        return
    plugin = _network_plugin(node, node.facts)
    if plugin != "cni":
        yield Hit(message=f"--network-plugin on {node.name} is {plugin or '(unset)'}")


def _network_plugin(node: NodeView, facts: NodeFacts) -> str:
    """The kubelet's own flag, or cri-dockerd's, whose default is cni."""
    if node.dockershim:
        return node.kubelet_flags.get("network-plugin", "")
    return flags.effective(facts.cri_dockerd_argv).get("network-plugin", "cni")


@node_rule(
    "cni-config",
    BLOCKER,
    title="containerd would choose another CNI network",
    why="dockershim takes the first file in /etc/cni/net.d that parses and whose plugins exist. "
    "containerd takes the first file, and fails if that one is bad. Files left behind by other "
    "packages (weave, podman, containerd's own example) then decide over the pod network.",
    fix="Remove or repair the files that sort before the one in use.",
    link=f"{links.CONTAINERD}docs/cri/config.md",
    firm=True,
)
def cni_config(node: NodeView, _: Survey) -> Iterator[Hit]:
    facts = node.facts
    if facts is None or facts.kubelet is None or _network_plugin(node, facts) != "cni":
        return
    if not facts.cni_files:
        if "cni" not in " ".join(facts.errors):
            yield Hit(message=f"{node.name} has no CNI configuration at all")
        return
    ordered = sorted(facts.cni_files, key=lambda file: file.path)
    first = ordered[0]
    used = next((file for file in ordered if not _flaw(file, facts)), None)
    if used is None:
        yield Hit(message=f"{first.path} on {node.name}: {_flaw(first, facts)}")
    elif used is not first:
        yield Hit(
            message=f"{node.name} uses {used.path} today, containerd would take {first.path}, "
            f"which dockershim skips: {_flaw(first, facts)}"
        )


def _flaw(file: CniFile, facts: NodeFacts) -> str:
    """Why dockershim passes a file over; empty when it would use it."""
    plugins, problem = _plugins(file)
    if problem:
        return problem
    if not facts.cni_binaries:
        return ""  # the folders could not be read
    present = {name for names in facts.cni_binaries.values() for name in names}
    missing = sorted({str(p["type"]) for p in plugins} - present)
    return f"the plugin {', '.join(missing)} is not installed" if missing else ""


def _plugins(file: CniFile) -> tuple[list[Mapping[str, Any]], str]:
    """The chain of one file, and why it is no valid one."""
    try:
        config = json.loads(file.text)
    except ValueError as exc:
        return [], f"it does not parse: {exc}"
    if not isinstance(config, dict) or not config.get("name"):
        return [], "the network in it has no name"
    chain = config.get("plugins", []) if file.path.endswith(".conflist") else [config]
    if not isinstance(chain, list) or not chain:
        return [], "it lists no plugin"
    if any(not isinstance(plugin, dict) or not plugin.get("type") for plugin in chain):
        return [], "a plugin in it has no type"
    return chain, ""


@node_rule(
    "cni-version",
    WARNING,
    title="The CNI configuration names no version",
    why="containerd 1.6.0 to 1.6.3 fails on such a file: `the version is empty`.",
    fix='Add "cniVersion": "0.3.1" to the file, or use a later containerd.',
    link=f"{links.DOCKERSHIM}troubleshooting-cni-plugin-related-errors/",
)
def cni_version(node: NodeView, _: Survey) -> Iterator[Hit]:
    facts = node.facts
    if facts is None or facts.containerd is None or not facts.cni_files:
        return
    first = min(facts.cni_files, key=lambda file: file.path)
    old = facts.containerd.version in ("1.6.0", "1.6.1", "1.6.2", "1.6.3")
    if old and _plugins(first)[0] and '"cniVersion"' not in first.text:
        yield Hit(message=f"{first.path} on {node.name} has no cniVersion")


@node_rule(
    "cni-folders",
    WARNING,
    title="CNI plugins come from several folders",
    why="containerd before 2.1 looks for plugins in one folder only.",
    fix="Copy or link the plugins in use into one folder.",
    link=f"{links.CONTAINERD}docs/cri/config.md",
)
def cni_folders(node: NodeView, _: Survey) -> Iterator[Hit]:
    folders = [f for f in node.kubelet_flags.get("cni-bin-dir", "").split(",") if f]
    if len(folders) > 1:
        yield Hit(message=f"--cni-bin-dir on {node.name} names {', '.join(folders)}")


@node_rule(
    "network-settings-lost",
    INFO,
    title="IP forwarding was Docker's doing",
    why="dockerd turns on IP forwarding and loads br_netfilter. Without Docker nothing does so "
    "after the next reboot, and pod traffic would stop then.",
    fix="Nothing to do: the migration writes these settings to /etc/sysctl.d and modules-load.d.",
    link=links.RUNTIMES,
)
def network_settings_lost(node: NodeView, _: Survey) -> Iterator[Hit]:
    facts = node.facts
    if facts is None:
        return
    kept = [
        path
        for path, text in facts.files.items()
        if path.startswith("/etc/sysctl") and "ip_forward" in text
    ]
    if facts.sysctls.get("net.ipv4.ip_forward") == "1" and not kept:
        yield Hit(message=f"no file under /etc/sysctl.d of {node.name} sets net.ipv4.ip_forward")
