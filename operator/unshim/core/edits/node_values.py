"""What the node has today and must keep: pause image, CNI folders, Docker's root."""

from __future__ import annotations

import re
from collections.abc import Mapping

from unshim.core import flags
from unshim.core.edits import kubelet_config, kubelet_sources, systemd_text
from unshim.core.facts import NodeFacts
from unshim.errors import UnsupportedNode

#: The kubelet's own default of --pod-infra-container-image, by its minor version (1.18 to 1.28).
_DEFAULT_PAUSE = {
    18: "k8s.gcr.io/pause:3.2",
    19: "k8s.gcr.io/pause:3.2",
    20: "k8s.gcr.io/pause:3.2",
    21: "k8s.gcr.io/pause:3.4.1",
    22: "k8s.gcr.io/pause:3.5",
    23: "k8s.gcr.io/pause:3.6",
    24: "k8s.gcr.io/pause:3.7",
    25: "registry.k8s.io/pause:3.8",
    26: "registry.k8s.io/pause:3.9",
    27: "registry.k8s.io/pause:3.9",
    28: "registry.k8s.io/pause:3.9",
}
_PAUSE_FLAG = "pod-infra-container-image"
_SHIM_UNITS = ("cri-docker", "cri-dockerd")


def shim_flags(facts: NodeFacts) -> Mapping[str, str]:
    """cri-dockerd's flags, which hold what dockershim's were from 1.24 on.

    They are those it runs with; where it does not run, those that its unit writes.
    """
    if facts.cri_dockerd_argv:
        return flags.effective(facts.cri_dockerd_argv)
    for name in _SHIM_UNITS:
        unit = kubelet_sources.unit(facts, name)
        if unit is None or not unit.fragment:
            continue
        words: list[str] = []
        for path in (unit.fragment, *unit.drop_ins):
            for setting in systemd_text.settings(facts.files.get(path, "")):
                if (setting.section, setting.key) == ("Service", "ExecStart"):
                    words = [w.text for w in systemd_text.words(setting.value, c_escapes=True)]
        return flags.effective(words)
    return {}


def on_containerd(facts: NodeFacts) -> bool:
    """True when the kubelet runs on containerd already."""
    kubelet = kubelet_sources.running(facts)
    return flags.on_containerd(kubelet.argv, kubelet.version, kubelet_config.endpoint(facts))


def uses_cri_dockerd(facts: NodeFacts) -> bool:
    """True when the kubelet reaches Docker through cri-dockerd."""
    kubelet = kubelet_sources.running(facts)
    if on_containerd(facts):
        return False
    if flags.minor(kubelet.version) >= (1, 24):
        return True
    return flags.effective(kubelet.argv).get("container-runtime", "docker") == "remote"


def shim_flag(facts: NodeFacts, name: str, default: str) -> str:
    """A dockershim flag's value, from whichever runs the sandboxes: cri-dockerd or the kubelet."""
    if uses_cri_dockerd(facts):
        return shim_flags(facts).get(name) or default
    return flags.effective(kubelet_sources.running(facts).argv).get(name) or default


def pause_image(facts: NodeFacts) -> str:
    """The image of the node's pod sandboxes.

    The flag of whichever runs the sandboxes comes first, then sandboxes that run, then the
    kubelet's default. Raises UnsupportedNode when none of them tells.
    """
    kubelet = flags.effective(kubelet_sources.running(facts).argv).get(_PAUSE_FLAG, "")
    version = flags.minor(kubelet_sources.running(facts).version)
    running = _sandbox_images(facts)
    seen = running.pop() if len(running) == 1 else ""
    if on_containerd(facts):
        named = _containerd_pause(facts) or kubelet
    elif uses_cri_dockerd(facts):
        named = shim_flags(facts).get(_PAUSE_FLAG) or seen or kubelet
    else:
        named = kubelet or seen or _DEFAULT_PAUSE.get(version[1], "")
    if named:
        return named
    raise UnsupportedNode(
        f"{facts.hostname}: the pause image is unknown: no pod sandbox runs, and neither the "
        "kubelet nor cri-dockerd names one. Nothing was changed. Set "
        "--pod-infra-container-image and try again."
    )


def _sandbox_images(facts: NodeFacts) -> set[str]:
    containers = facts.docker.containers if facts.docker else ()
    return {
        container.image
        for container in containers
        if container.labels.get("io.kubernetes.docker.type") == "podsandbox"
        and container.state == "running"
        and ":" in container.image
        and not container.image.startswith("sha256:")
    }


def _containerd_pause(facts: NodeFacts) -> str:
    """The sandbox image in containerd's configuration, as TOML of version 2 or 3 writes it."""
    text = facts.containerd.config_text if facts.containerd else None
    match = re.search(r"""(?m)^\s*sandbox(?:_image)?\s*=\s*["']([^"']+)["']""", text or "")
    return match[1] if match else ""


def docker_root(facts: NodeFacts) -> str:
    """Docker's data folder."""
    info = facts.docker.info if facts.docker else {}
    return str(info.get("DockerRootDir") or "/var/lib/docker")
