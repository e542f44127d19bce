"""What node/facts.sh printed -> NodeFacts. A section that is bad becomes an entry of `errors`.

The script prints what the node says and decides nothing; every judgement on it (which cgroup driver
is really in use, which CNI files count) is made here, where it can be tested on texts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from unshim.core import facts_kubelet, facts_runtimes
from unshim.core.facts import CniFile, Disk, NodeFacts, NodeRun, Unit
from unshim.core.facts_sections import Sections, split

_CNI_SUFFIXES = (".conf", ".conflist", ".json")


def parse(text: str) -> NodeFacts:
    """Everything that can be known from the output, however damaged. Raises nothing."""
    found = split(text)
    units = _units(found)
    docker = facts_runtimes.docker(found)
    return NodeFacts(
        hostname=found.line("hostname"),
        os_release=_os_release(found),
        kernel=found.line("kernel"),
        architecture=found.line("architecture"),
        boot_id=found.line("boot-id"),
        systemd_version=_systemd_version(found),
        root=found.line("uid") == "0",
        kubelet=facts_kubelet.kubelet(found, docker),
        docker=docker,
        containerd=facts_runtimes.containerd(found),
        units=units,
        files=found.under("file:"),
        present=frozenset(found.lines("present")),
        cni_files=_cni_files(found),
        cni_binaries={k: _lines(v) for k, v in found.under("cni-bin:").items()},
        disks=_disks(found),
        sysctls={k.replace("/", "."): v for k, v in found.pairs("sysctls").items()},
        docker_users=found.lines("docker-users"),
        docker_firewall=found.lines("docker-firewall"),
        runs=runs(found.under("run:")),
        cri_dockerd_argv=found.words("cri-dockerd-argv"),
        limits={who: _limits(text) for who, text in found.under("limits:").items()},
        tools=frozenset(found.lines("tools")),
        packages=_packages(found)[0],
        held=_packages(found)[1],
        errors=found.errors,
    )


def parse_runs(text: str) -> tuple[NodeRun, ...]:
    """The runs alone, from the output of either variant of the script."""
    return runs(split(text).under("run:"))


def runs(parts: Mapping[str, str]) -> tuple[NodeRun, ...]:
    """Runs from `<uid>:<part>` texts, sorted by uid."""
    return tuple(
        NodeRun(
            uid=uid,
            journal=parts.get(f"{uid}:journal", ""),
            verdict=parts.get(f"{uid}:verdict", "").strip(),
            meta=parts.get(f"{uid}:meta.json", ""),
        )
        for uid in sorted({key.partition(":")[0] for key in parts})
    )


def _os_release(found: Sections) -> dict[str, str]:
    rows = (line.partition("=") for line in found.lines("os-release"))
    return {key.strip(): value.strip().strip("\"'") for key, _, value in rows if value}


def _systemd_version(found: Sections) -> int:
    match = re.search(r"\d+", found.text("systemd-version"))
    return int(match[0]) if match else 0


def _units(found: Sections) -> dict[str, Unit]:
    """Existing units by every name they go by."""
    units = {}
    for block in found.text("units").split("\n\n"):
        values: dict[str, list[str]] = {}
        for line in block.split("\n"):
            key, equals, value = line.partition("=")
            if equals:
                values.setdefault(key, []).append(value)
        if values.get("LoadState", ["not-found"])[0] != "not-found":
            for name in values.get("Names", values.get("Id", [""]))[0].split():
                units[name] = _unit(name, {key: " ".join(v) for key, v in values.items()}, values)
    return units


def _unit(name: str, values: Mapping[str, str], lists: Mapping[str, list[str]]) -> Unit:
    environment = lists.get("EnvironmentFiles", []) + lists.get("EnvironmentFile", [])
    pid = values.get("MainPID", "0")
    return Unit(
        name=name,
        enabled=values.get("UnitFileState", ""),
        active=values.get("ActiveState", ""),
        main_pid=int(pid) if pid.isdigit() else 0,
        fragment=values.get("FragmentPath", ""),
        drop_ins=_words(values, "DropInPaths"),
        environment_files=tuple(e.partition(" (ignore_errors")[0] for e in environment if e),
        requires=_words(values, "Requires", "Requisite"),
        binds_to=_words(values, "BindsTo"),
        wants=_words(values, "Wants"),
        required_by=_words(values, "RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf"),
    )


def _words(values: Mapping[str, str], *keys: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for key in keys for word in values.get(key, "").split()))


def _cni_files(found: Sections) -> tuple[CniFile, ...]:
    """Sorted by name, byte by byte, as dockershim and containerd do."""
    return tuple(
        CniFile(path=path, text=text)
        for path, text in sorted(found.under("cni:").items())
        if path.endswith(_CNI_SUFFIXES)
    )


def _disks(found: Sections) -> tuple[Disk, ...]:
    rows = (line.split("\t") for line in found.lines("disks"))
    return tuple(
        Disk(
            path=row[0],
            fstype=row[1],
            total_bytes=int(row[2]),
            free_bytes=int(row[3]),
            d_type=row[4:] != ["0"],
        )
        for row in rows
        if len(row) in (4, 5) and row[2].isdigit() and row[3].isdigit()
    )


def _limits(text: str) -> dict[str, str]:
    """/proc/PID/limits: name -> `soft:hard`."""
    rows = (re.split(r"\s{2,}", line.strip()) for line in text.split("\n")[1:])
    return {row[0]: f"{row[1]}:{row[2]}" for row in rows if len(row) >= 3}


def _packages(found: Sections) -> tuple[dict[str, str], frozenset[str]]:
    """Installed packages with their versions, and those on hold (dpkg says `hi`)."""
    rows = [line.split("\t") for line in found.lines("packages")]
    full = [row for row in rows if len(row) == 3]
    held = frozenset(row[0] for row in full if row[2].startswith("h"))
    return {row[0]: row[1] for row in full}, held


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line for line in text.split("\n") if line)
