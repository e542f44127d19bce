"""The kubelet as node/facts.sh saw it, and which cgroup driver is really in use."""

from __future__ import annotations

import re
from collections.abc import Mapping

from unshim.core import flags
from unshim.core.facts import Docker, Kubelet
from unshim.core.facts_runtimes import version_in
from unshim.core.facts_sections import Sections


def kubelet(found: Sections, docker: Docker | None) -> Kubelet | None:
    argv = found.words("kubelet-argv")
    version = version_in(found.text("kubelet-version"))
    if not argv and not version:
        return None
    if not argv:
        found.errors.setdefault("kubelet", "it is installed but does not run")
    effective = flags.effective(argv)
    path = effective.get("config", "")
    config = found.texts.get(f"file:{path}", "")
    evidence = _cgroup_evidence(found, docker, effective, config)
    return Kubelet(
        version=version,
        argv=argv,
        home=found.line("kubelet-home"),
        config_path=path,
        config_text=config,
        cgroup_driver=next(iter(evidence.values()), ""),
        cgroup_evidence=evidence,
    )


def _cgroup_evidence(
    found: Sections, docker: Docker | None, effective: Mapping[str, str], config: str
) -> dict[str, str]:
    """Witnesses for the cgroup driver, the strongest first.

    A pod's own cgroup shows what is. dockershim refuses to start when it differs from Docker's. A
    flag beats the config file, which a kubelet that asks the runtime (1.31 and later) ignores.
    """
    evidence = {}
    if pods := _pods_driver(found):
        evidence["pods"] = pods
    if docker is not None and docker.info.get("CgroupDriver"):
        evidence["docker"] = str(docker.info["CgroupDriver"])
    match = re.search(r"""(?m)(?:^|[{,])\s*["']?cgroupDriver["']?\s*:\s*["']?(\w+)""", config)
    said = effective.get("cgroup-driver") or (match[1] if match else "")
    if said:
        evidence["kubelet"] = said
    if len(set(evidence.values())) > 1:
        told = ", ".join(f"{who}: {what}" for who, what in evidence.items())
        found.errors["cgroup-driver"] = f"the witnesses disagree ({told})"
    return evidence or ({"default": "cgroupfs"} if found.text("kubelet-argv") else {})


def _pods_driver(found: Sections) -> str:
    """The layout of the pods' cgroups: kubepods.slice, or plain kubepods."""
    seen = set()
    for line in found.lines("pod-cgroups"):
        if re.search(r"/kubepods[^/]*\.slice(/|$)", line):
            seen.add("systemd")
        elif re.search(r"/kubepods/", line):
            seen.add("cgroupfs")
    if len(seen) > 1:
        found.errors["pod-cgroups"] = "pods are in both layouts, kubepods.slice and kubepods"
    return seen.pop() if len(seen) == 1 else ""
