"""Laws over all cases and over generated command lines."""

from __future__ import annotations

import dataclasses
import json
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.edits import cases
from unshim.core import edits, flags
from unshim.core.edits import kubelet_flags, kubelet_sources, toml_text
from unshim.core.facts import Containerd, NodeFacts, Unit
from unshim.core.options import Options
from unshim.errors import UnsupportedNode

OPTIONS = Options(node="w1")
CHANGING = [c for name in edits.EDITS for c in cases.load(name) if not c.refuses]
CONTAINERD = shutil.which("containerd")


def _named(case: cases.Case) -> str:
    return case.name


def moved(facts: NodeFacts) -> NodeFacts:
    """The node after all edits, its kubelet restarted. Raises UnsupportedNode."""
    files = dict(facts.files)
    for edit in edits.EDITS.values():
        for change in edit(facts, OPTIONS):
            files[change.path] = change.after or ""
    units = {name: _shadowed(unit, files) for name, unit in facts.units.items()}
    after = dataclasses.replace(facts, files=files, units=units)
    words = [argument.text for argument in kubelet_sources.compose(after, files)]
    kubelet = (
        dataclasses.replace(facts.kubelet, argv=("kubelet", *words)) if facts.kubelet else None
    )
    path = "/etc/containerd/config.toml"
    containerd = facts.containerd or Containerd(version="1.6.20")
    containerd = dataclasses.replace(containerd, config_text=files.get(path))
    return dataclasses.replace(after, kubelet=kubelet, containerd=containerd)


def _shadowed(unit: Unit, files: Mapping[str, str]) -> Unit:
    """systemd prefers /etc over a package's folder, and starts without links to Docker."""

    def found(path: str) -> str:
        shadow = "/etc/systemd/system/" + path.partition("/systemd/system/")[2]
        return shadow if shadow in files else path

    drop_ins = tuple(found(path) for path in unit.drop_ins)
    return dataclasses.replace(
        unit, fragment=found(unit.fragment), drop_ins=drop_ins, requires=(), binds_to=(), wants=()
    )


@pytest.mark.parametrize("case", CHANGING, ids=_named)
def test_a_moved_node_is_on_containerd_and_stays(case: cases.Case) -> None:
    """After the edits the kubelet's own rules lead it to containerd, and no edit has more to do."""
    try:
        after = moved(case.facts)
    except UnsupportedNode:
        return  # another edit refuses this node
    assert after.kubelet is not None
    version = after.kubelet.version
    config = after.files.get(after.kubelet.config_path, "")
    endpoint = next(
        (line.split(": ")[1].strip("\"'") for line in config.splitlines() if _names_endpoint(line)),
        "",
    )
    if not config.startswith("{"):
        assert flags.on_containerd(after.kubelet.argv, version, endpoint.split('"')[0])
    for name, edit in edits.EDITS.items():
        assert edit(after, OPTIONS) == (), name


def _names_endpoint(line: str) -> bool:
    return line.startswith("containerRuntimeEndpoint: ") and "/" in line


_values = st.text("abcXYZ019.,=/:_-", min_size=1, max_size=12)
_foreign = st.builds(
    lambda name, value: f"--{name}={value}",
    st.sampled_from(["v", "node-labels", "feature-gates", "docker-root", "kube-reserved"]),
    _values,
)
_dockershim = st.sampled_from(
    [
        "--network-plugin=cni",
        "--network_plugin=cni",
        "--network-plugin cni",
        "--cni-bin-dir=/opt/cni/bin",
        "--docker-endpoint unix:///var/run/docker.sock",
        "--container-runtime=docker",
        "--redirect-container-streaming",
    ]
)
_blanks = st.sampled_from([" ", "  ", " \\\n", "\t"])


@given(
    st.lists(st.one_of(_foreign, _dockershim), max_size=8), st.data(), st.sampled_from(['"', "'"])
)
def test_other_flags_survive_any_edit(written: list[str], data: st.DataObject, quote: str) -> None:
    """Whatever stands around them, dockershim's flags go and all others stay, in order."""
    blanks = _blanks if quote == '"' else st.sampled_from([" ", "  ", "\t"])
    text = "".join(word + data.draw(blanks) for word in ["--network-plugin=cni", *written])
    env = f"A=1\nKUBELET_KUBEADM_ARGS={quote}{text}{quote}\n"
    over = {
        "kubelet": {"argv": "(composed)"},
        "files": {"/var/lib/kubelet/kubeadm-flags.env": env},
    }
    raw = cases.merged(cases.base(), over)
    facts = cases.facts(raw)
    (change,) = edits.EDITS["kubelet-flags"](facts, OPTIONS)
    files = {**facts.files, change.path: change.after or ""}
    words = [argument.text for argument in kubelet_sources.compose(facts, files)]
    kept = [word for word in words if word in written and word.startswith("--") and "=" in word]
    assert kept == [word for word in written if word in kept]
    assert {w for w in written if w.partition("=")[0] in ("--v", "--docker-root")} <= set(words)
    effective = flags.effective(["kubelet", *words])
    assert effective["container-runtime"] == "remote"
    assert effective["container-runtime-endpoint"] == flags.CONTAINERD_ENDPOINT
    assert "network-plugin" not in effective
    assert (change.after or "").startswith("A=1\n")


_scalars = st.one_of(
    st.booleans(), st.integers(), st.text(), st.lists(st.one_of(st.text(), st.integers()))
)
_documents = st.recursive(
    st.dictionaries(st.text(), _scalars, max_size=4),
    lambda inner: st.dictionaries(st.text(), st.one_of(_scalars, inner), max_size=4),
)


@given(_documents)
def test_toml_is_read_back_as_written(document: dict[str, Any]) -> None:
    """What we write is what a TOML reader finds, whatever strings are in it."""
    assert tomllib.loads(toml_text.dumps(document)) == document


def _missing(wanted: Mapping[str, Any], found: Mapping[str, Any], path: str) -> Iterator[str]:
    for key, value in wanted.items():
        if isinstance(value, Mapping):
            yield from _missing(value, found.get(key, {}), f"{path}.{key}")
        elif found.get(key) != value:
            yield f"{path}.{key}"


@pytest.mark.skipif(CONTAINERD is None, reason="no containerd here; the lab's nodes have one")
@pytest.mark.parametrize("name", ["absent", "admins-file", "nvidia-default", "version-1"])
def test_containerd_reads_back_every_value(name: str, tmp_path: Path) -> None:
    """The real containerd dumps every value of our file, so none was silently ignored."""
    case = next(c for c in cases.load("containerd-config") if c.name.endswith(f"/{name}"))
    text = case.after["/etc/containerd/config.toml"]
    path = tmp_path / "config.toml"
    path.write_text(text)
    assert CONTAINERD is not None
    dump = subprocess.run(
        [CONTAINERD, "-c", str(path), "config", "dump"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert list(_missing(tomllib.loads(text), tomllib.loads(dump.stdout), "")) == []


def test_variables() -> None:
    """The scripts get these names and no others; every value survives a shell."""
    found = edits.variables(cases.facts(cases.base()), OPTIONS, [])
    assert found == {
        "UNSHIM_CRI_SOCKET": "/run/containerd/containerd.sock",
        "UNSHIM_KEEP_DOCKER": "",
        "UNSHIM_DOCKER_ROOT": "/var/lib/docker",
        "UNSHIM_HANDOVER": "",
        "UNSHIM_REHEARSE": "",
        "UNSHIM_HTTP_PROXY": "",
        "UNSHIM_HTTPS_PROXY": "",
        "UNSHIM_NO_PROXY": "",
        "UNSHIM_PAUSE_IMAGE": "k8s.gcr.io/pause:3.2",
        "UNSHIM_SOURCE": "dockershim",
        "UNSHIM_CNI_CACHE": "/var/lib/cni/cache",
        "UNSHIM_STOP_SECONDS": "10",
    }
    line = shlex.split(" ".join(f"{k}={shlex.quote(v)}" for k, v in found.items()))
    assert line == [f"{k}={v}" for k, v in found.items()]
    assert json.dumps(found)


def test_variables_of_a_cri_dockerd_node() -> None:
    """A cri-dockerd node is told apart, and its own flags give the pause image and CNI cache."""
    raw = cases.merged(
        cases.base(),
        {"kubelet": {"version": "1.27.1", "argv": "kubelet --container-runtime-endpoint=/x"}},
    )
    facts = dataclasses.replace(
        cases.facts(raw),
        cri_dockerd_argv=(
            "cri-dockerd",
            "--pod-infra-container-image=mirror/pause:1",
            "--cni-cache-dir=/c",
        ),
    )
    found = edits.variables(facts, Options(node="w1", keep_docker=True), [])
    assert found["UNSHIM_SOURCE"] == "cri-dockerd"
    assert found["UNSHIM_PAUSE_IMAGE"] == "mirror/pause:1"
    assert found["UNSHIM_CNI_CACHE"] == "/c"
    assert found["UNSHIM_KEEP_DOCKER"] == "1"


#: First kubelet version that does not know the flag and exits because of it.
GONE_IN = {
    **dict.fromkeys(sorted(kubelet_flags.DOCKERSHIM_FLAGS - {"non-masquerade-cidr"}), 24),
    "container-runtime": 27,
    "pod-infra-container-image": 35,
}
_KUBEADM_ENV = "/var/lib/kubelet/kubeadm-flags.env"


def kubeadm_wrote(minor: int) -> str:
    """kubeadm-flags.env of a Docker node as kubeadm of that version writes it."""
    pause = "--pod-infra-container-image=registry.k8s.io/pause:3.9"
    if minor < 24:
        return f'KUBELET_KUBEADM_ARGS="--network-plugin=cni {pause}"\n'
    remote = "--container-runtime=remote " if minor < 27 else ""
    pause = pause if minor < 35 else ""
    endpoint = "--container-runtime-endpoint=unix:///var/run/cri-dockerd.sock"
    return f'KUBELET_KUBEADM_ARGS="{remote}{endpoint} {pause}"\n'


@pytest.mark.parametrize("minor", range(18, 37))
def test_every_version_starts_on_containerd_and_survives_its_upgrade(minor: int) -> None:
    """No flag is left that this kubelet, or the next one, would die of, and it finds containerd.

    The pause image's flag alone stays through its last version, for image garbage collection.
    """
    over = {
        "kubelet": {"version": f"1.{minor}.3", "argv": "(composed)"},
        "files": {_KUBEADM_ENV: kubeadm_wrote(minor)},
    }
    facts = cases.facts(cases.merged(cases.base(), over))
    (change,) = edits.EDITS["kubelet-flags"](facts, OPTIONS)
    files = {**facts.files, change.path: change.after or ""}
    words = [argument.text for argument in kubelet_sources.compose(facts, files)]
    have = flags.effective(["kubelet", *words])
    assert flags.on_containerd(["kubelet", *words], f"1.{minor}.3")
    assert [name for name in have if GONE_IN.get(name, 99) <= minor] == []
    upgraded = minor + 1
    fatal = {name for name in have if GONE_IN.get(name, 99) <= upgraded}
    assert fatal <= ({"container-runtime"} if minor < 24 else {"pod-infra-container-image"})
    assert ("pod-infra-container-image" in have) is (minor < 35)


def test_variables_of_a_node_behind_proxies() -> None:
    """containerd's own proxies first, then Docker's: what its unit will have after the run."""
    own = "/etc/systemd/system/containerd.service.d/proxy.conf"
    raw = {
        "docker": {"environment": {"http_proxy": "http://d:1", "HTTPS_PROXY": "http://d:2"}},
        "units": {"containerd": {"drop_ins": [own]}},
        "files": {own: '[Service]\nEnvironment="https_proxy=http://c:3"\n'},
    }
    found = edits.variables(cases.facts(cases.merged(cases.base(), raw)), OPTIONS, [])
    proxies = [found[f"UNSHIM_{name}_PROXY"] for name in ("HTTP", "HTTPS", "NO")]
    assert proxies == ["http://d:1", "http://c:3", ""]
