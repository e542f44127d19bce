"""Facts from real output of node/facts.sh, whole, damaged and twisted.

The texts in data/facts were printed on nodes of tests/lab (kubeadm 1.20.2, Docker 20.10.24).
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unshim.core import facts_parse, facts_sections
from unshim.core.facts import NodeFacts

DATA = Path(__file__).parent / "data" / "facts"
WORKER = (DATA / "worker.txt").read_text()
CONTROL_PLANE = (DATA / "control-plane.txt").read_text()

ARGV = "/usr/bin/kubelet\0--config=/etc/kubelet.yaml\0"
UNIT = "Id={0}\nNames={0}\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n"


def output(**sections: str) -> str:
    """Output with these sections; `_` in a name stands for `-`, `__` for `:`."""
    rows = {k.replace("__", ":").replace("_", "-"): v for k, v in sections.items()}
    return render({**rows, "end": ""})


def render(rows: dict[str, str]) -> str:
    return "".join(f"{k}\t{base64.b64encode(v.encode()).decode()}\n" for k, v in rows.items())


def parse(**sections: str) -> NodeFacts:
    return facts_parse.parse(output(**sections))


@pytest.mark.parametrize("text", [WORKER, CONTROL_PLANE], ids=["worker", "control-plane"])
def test_a_real_node_is_read_whole(text: str) -> None:
    """A kubeadm node on dockershim: everything is found, nothing is an error."""
    facts = facts_parse.parse(text)
    assert facts.errors == {}
    assert facts.root
    assert facts.kernel.startswith("6.")
    assert facts.os_release["ID"] == "debian"
    assert facts.systemd_version == 252
    assert facts.kubelet is not None
    assert facts.kubelet.version == "1.20.2"
    assert facts.kubelet.argv[0] == "/usr/bin/kubelet"
    assert "--network-plugin=cni" in facts.kubelet.argv
    assert facts.kubelet.config_path == "/var/lib/kubelet/config.yaml"
    assert "kind: KubeletConfiguration" in facts.kubelet.config_text
    assert set(facts.kubelet.cgroup_evidence) == {"pods", "docker", "kubelet"}
    assert facts.kubelet.cgroup_driver == "cgroupfs"


def test_docker_on_a_real_node() -> None:
    """Docker's settings, its containers with exact labels, and where each image came from."""
    docker = facts_parse.parse(WORKER).docker
    assert docker is not None
    assert docker.version.startswith("20.10.24")
    assert docker.info["CgroupDriver"] == "cgroupfs"
    assert docker.argv[-1] == "--containerd=/run/containerd/containerd.sock"
    assert docker.containers
    assert all(c.kubernetes for c in docker.containers)
    assert docker.foreign == ()
    labels = docker.containers[0].labels
    assert labels["io.kubernetes.docker.type"] in ("container", "podsandbox")
    by_tag = {image.repo_tags[0]: image for image in docker.images}
    assert by_tag["local.test/only-here:1"].repo_digests == ()
    assert by_tag["registry.lab:5000/apps/web:1"].repo_digests[0].startswith("registry.lab:5000/")
    assert all(image.size_bytes > 0 for image in docker.images)


def test_containerd_beside_docker() -> None:
    """containerd's own version, its configuration, and that the CRI service is loaded."""
    containerd = facts_parse.parse(WORKER).containerd
    assert containerd is not None
    assert containerd.version == "1.6.20"
    assert containerd.config_text is not None
    assert "version = 2" in containerd.config_text
    assert containerd.cri_loaded
    assert containerd.k8s_containers == 0
    assert containerd.root == "/var/lib/containerd"


def test_units_files_and_folders_of_a_real_node() -> None:
    """Units as systemd has them, and every file that takes part in the kubelet's command line."""
    facts = facts_parse.parse(WORKER)
    kubelet = facts.units["kubelet.service"]
    assert (kubelet.enabled, kubelet.active) == ("enabled", "active")
    assert kubelet.main_pid > 0
    assert kubelet.drop_ins == ("/etc/systemd/system/kubelet.service.d/10-kubeadm.conf",)
    assert "/var/lib/kubelet/kubeadm-flags.env" in kubelet.environment_files
    paths = (kubelet.fragment, *kubelet.drop_ins, "/var/lib/kubelet/kubeadm-flags.env")
    assert all(path in facts.files for path in paths)
    assert json.loads(facts.files["/etc/docker/daemon.json"])
    assert "docker.service" in facts.units["docker.socket"].required_by
    assert "cri-docker.service" not in facts.units
    assert "/var/run/docker.sock" in facts.present
    assert {"bridge", "host-local", "loopback"} <= set(facts.cni_binaries["/opt/cni/bin"])
    assert [f.path for f in facts.cni_files] == ["/etc/cni/net.d/10-lab.conflist"]
    assert facts.sysctls["net.ipv4.ip_forward"] == "1"
    assert {d.path for d in facts.disks} >= {"/var/lib/docker", "/var/lib/containerd", "/run"}
    assert all(0 < d.free_bytes <= d.total_bytes for d in facts.disks)
    assert facts.packages["containerd"].startswith("1.6.20")
    assert facts.limits["pod"]["Max open files"] == "20000:20000"


def test_an_xfs_without_types_of_entries_is_known() -> None:
    """The fifth column is XFS's ftype; other file systems leave it empty, older scripts out."""
    rows = "/a\txfs\t10\t5\t0\n/b\txfs\t10\t5\t1\n/c\text4\t10\t5\t\n/d\text4\t10\t5\n"
    assert [disk.d_type for disk in parse(disks=rows).disks] == [False, True, True, True]


def test_rules_of_the_docker_user_chain_are_kept() -> None:
    """Line by line, as iptables-save writes them."""
    rules = "-A DOCKER-USER -i eth0 -j DROP\n-A DOCKER-USER -s 10.0.0.0/8 -j RETURN\n"
    assert parse(docker_firewall=rules).docker_firewall == tuple(rules.splitlines())


def test_static_pods_are_seen_on_a_control_plane() -> None:
    """The manifests of static pods are named among the paths that exist."""
    present = facts_parse.parse(CONTROL_PLANE).present
    assert "/etc/kubernetes/manifests/kube-apiserver.yaml" in present
    assert "/etc/kubernetes/manifests" in present


def test_a_bare_machine_has_nothing() -> None:
    """Where nothing runs, runtimes are None and that is no error."""
    facts = parse(hostname="bare\n", uid="1000\n")
    assert (facts.kubelet, facts.docker, facts.containerd) == (None, None, None)
    assert not facts.root
    assert facts.errors == {}


@pytest.mark.parametrize(
    ("paths", "driver"),
    [
        ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podx.slice/docker-1.scope",
         "systemd"),
        ("/kubepods.slice/kubepods-podx.slice:cri-containerd:1", "systemd"),
        ("/kubepods/besteffort/pod1/abc", "cgroupfs"),
        ("/lab-1/kubepods/besteffort/pod1/abc", "cgroupfs"),
        ("/kubepods/besteffort/pod1/abc\n/kubepods/burstable/pod2/def", "cgroupfs"),
    ],
)  # fmt: skip
def test_the_cgroup_driver_is_what_pods_show(paths: str, driver: str) -> None:
    """A running pod's cgroup outweighs what the configuration says, and the quarrel is reported."""
    other = "cgroupfs" if driver == "systemd" else "systemd"
    facts = parse(
        kubelet_argv=ARGV,
        kubelet_version="Kubernetes v1.31.0",
        pod_cgroups=paths,
        **{"file__/etc/kubelet.yaml": f"cgroupDriver: {other}\n"},
    )
    assert facts.kubelet is not None
    assert facts.kubelet.cgroup_driver == driver
    assert facts.kubelet.cgroup_evidence == {"pods": driver, "kubelet": other}
    assert "disagree" in facts.errors["cgroup-driver"]


def test_pods_in_both_layouts_prove_nothing() -> None:
    """Remains of the other driver make the pods a bad witness; the next one counts."""
    facts = parse(
        kubelet_argv=f"{ARGV}--cgroup-driver\0systemd\0",
        kubelet_version="Kubernetes v1.20.2",
        pod_cgroups="/kubepods/x/y\n/kubepods.slice/kubepods-podx.slice/docker-1.scope",
    )
    assert facts.kubelet is not None
    assert facts.kubelet.cgroup_evidence == {"kubelet": "systemd"}
    assert "both layouts" in facts.errors["pod-cgroups"]


@pytest.mark.parametrize(
    ("config", "driver"),
    [
        ('{"kind": "KubeletConfiguration", "cgroupDriver": "systemd"}', "systemd"),
        ('{\n  "cgroupDriver": "systemd"\n}', "systemd"),
        ("cgroupDriver: 'systemd' # why\n", "systemd"),
        ("# cgroupDriver: systemd\n", "cgroupfs"),
        ("", "cgroupfs"),
    ],
)
def test_the_config_file_tells_the_driver_when_nobody_else_does(config: str, driver: str) -> None:
    """YAML or JSON, quoted or not; without a word the kubelet's default is cgroupfs."""
    facts = parse(
        kubelet_argv=ARGV,
        kubelet_version="Kubernetes v1.20.2",
        **{"file__/etc/kubelet.yaml": config},
    )
    assert facts.kubelet is not None
    assert facts.kubelet.cgroup_driver == driver


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u1", "1.6.20"),
        ("containerd containerd.io 1.6.33 d2d58213f83a351ca8f528a95fbd145f5654e957", "1.6.33"),
        ("containerd github.com/containerd/containerd v1.7.27 05044ec0a9a75232cad458027", "1.7.27"),
        ("containerd github.com/containerd/containerd/v2 v2.1.3 abc", "2.1.3"),
        ("containerd github.com/containerd/containerd/v2 v2.0.0-rc.1 abc", "2.0.0-rc.1"),
    ],
)
def test_every_way_to_say_containerd_s_version(said: str, version: str) -> None:
    """Distribution suffixes go, pre-release marks stay, module paths are no versions."""
    containerd = parse(containerd_version=said).containerd
    assert containerd is not None
    assert containerd.version == version


def test_the_running_containerd_beats_the_one_on_disk() -> None:
    """After an upgrade without a restart the old one still serves."""
    containerd = parse(
        containerd_version="containerd github.com/containerd/containerd v1.7.27 x",
        containerd_running_version="containerd github.com/containerd/containerd 1.6.20~ds1 y",
    ).containerd
    assert containerd is not None
    assert containerd.version == "1.6.20"


@pytest.mark.parametrize(
    ("line", "loaded"),
    [
        ("io.containerd.grpc.v1           cri            linux/amd64    ok", True),
        ("io.containerd.grpc.v1           cri            linux/amd64    error", False),
        ("io.containerd.grpc.v1           images         -              ok", False),
        ("io.containerd.grpc.v1  cri  -  skip", False),
    ],
)
def test_cri_is_loaded_only_when_containerd_says_ok(line: str, loaded: bool) -> None:
    """A CRI plugin that failed to load, or is disabled, does not count."""
    containerd = parse(containerd_version="containerd x v1.7.1 y", containerd_plugins=line)
    assert containerd.containerd is not None
    assert containerd.containerd.cri_loaded is loaded


def test_containerd_s_own_config_and_root_are_followed() -> None:
    """--config, and a top-level `root`; a plugin's `root` means something else."""
    config = 'version = 2\nroot = "/data/containerd"\n[plugins]\n  root = "/elsewhere"\n'
    containerd = parse(
        containerd_version="containerd x v1.7.1 y",
        containerd_argv="/usr/bin/containerd\0--config\0/opt/c.toml\0",
        **{"file__/opt/c.toml": config},
    ).containerd
    assert containerd is not None
    assert (containerd.config_path, containerd.root) == ("/opt/c.toml", "/data/containerd")


def test_a_docker_that_does_not_answer_is_an_error() -> None:
    """dockerd runs but `docker info` fails: no Docker facts, and the reason is kept."""
    facts = parse(
        docker_info='{"ID":"","ServerErrors":["Cannot connect"]}',
        error__docker_info="exit code 1: Cannot connect",
    )
    assert facts.docker is None
    assert facts.errors["docker-info"] == "exit code 1: Cannot connect"


def test_one_container_that_does_not_parse_spoils_no_other() -> None:
    """A torn row is reported; the rows around it are kept."""
    row = '["id1","/web","nginx","running",null]'
    facts = parse(
        docker_info='{"ServerVersion":"20.10.24"}', docker_containers=f"{row}\n[torn\n{row}\n"
    )
    assert facts.docker is not None
    assert [c.name for c in facts.docker.containers] == ["web", "web"]
    assert facts.docker.containers[0].labels == {}
    assert "docker-containers" in facts.errors


def test_what_may_hold_a_password_is_not_in_a_repr() -> None:
    """Proxies' URLs carry passwords; facts end up in logs and tracebacks."""
    facts = parse(
        docker_info='{"ServerVersion":"20.10.24","HttpProxy":"http://u:canary@p"}',
        dockerd_environment="HTTP_PROXY=http://u:canary@p",
        **{"file__/etc/x": "canary"},
    )
    assert facts.docker is not None
    assert facts.docker.environment == {"HTTP_PROXY": "http://u:canary@p"}
    assert "canary" not in repr(facts)


def test_units_answer_to_their_aliases_and_absent_ones_are_absent() -> None:
    """A unit is found under each of its names; a unit that does not exist is not in the mapping."""
    text = UNIT.format("docker.service").replace("Names=", "Names=dockerd.service ")
    text += "EnvironmentFiles=/etc/a (ignore_errors=yes)\nEnvironmentFiles=/etc/b\n"
    text += "Requires=docker.socket\nBindsTo=containerd.service\nRequiredBy=kubelet.service\n"
    gone = "Id=no.service\nNames=no.service\nLoadState=not-found\nActiveState=inactive\n"
    units = parse(units=f"{text}\n{gone}").units
    assert set(units) == {"docker.service", "dockerd.service"}
    docker = units["docker.service"]
    assert docker.environment_files == ("/etc/a", "/etc/b")
    assert (docker.requires, docker.binds_to) == (("docker.socket",), ("containerd.service",))
    assert docker.required_by == ("kubelet.service",)


def test_a_masked_unit_exists() -> None:
    """`masked` is a state of its own, not absence."""
    text = "Id=d.service\nNames=d.service\nLoadState=masked\nUnitFileState=masked\nMainPID=0\n"
    assert parse(units=text).units["d.service"].enabled == "masked"


def test_cni_files_sort_as_the_runtimes_sort_them() -> None:
    """Byte order of names: capitals before small letters, 10 before 9."""
    names = ["9-x.conf", "10-b.conflist", "Z.conf", "a.json", "note.txt"]
    facts = parse(**{f"cni__/etc/cni/net.d/{name}": "{}" for name in names})
    assert [f.path.rsplit("/", 1)[1] for f in facts.cni_files] == [
        "10-b.conflist",
        "9-x.conf",
        "Z.conf",
        "a.json",
    ]


def test_runs_are_found_with_a_torn_journal_and_no_verdict() -> None:
    """A run folder is reported as it is, even when it is empty."""
    rows = {
        "run:b-2:": "",
        "run:a-1:journal": '{"seq":1}\n{"se',
        "run:a-1:meta.json": "{}",
        "run:a-1:verdict": "rolled-back DeadMan\n",
        "run:a-1:": "",
        "end": "",
    }
    found = facts_parse.parse_runs(render(rows))
    assert [(r.uid, r.verdict, r.meta) for r in found] == [
        ("a-1", "rolled-back DeadMan", "{}"),
        ("b-2", "", ""),
    ]
    assert found[0].journal.endswith('{"se')


def test_packages_on_hold_are_told_apart() -> None:
    """dpkg's `hi` is an installed package that must not be touched."""
    facts = parse(packages="containerd.io\t1.6.33-1\thi \ndocker-ce\t5:20.10.24\tii \n")
    assert facts.packages == {"containerd.io": "1.6.33-1", "docker-ce": "5:20.10.24"}
    assert facts.held == {"containerd.io"}


def test_what_is_not_text_is_named_and_left_out() -> None:
    """A binary file where text was expected is an error of that file alone."""
    rows = render({"hostname": "a", "end": ""}) + "file:/etc/x\t/////w==\n"
    facts = facts_parse.parse(rows)
    assert facts.hostname == "a"
    assert "/etc/x" not in facts.files
    assert set(facts.errors) == {"file:/etc/x"}


def test_a_section_that_was_cut_says_so() -> None:
    """More than the limit: the beginning is kept, and the loss is an error."""
    facts = parse(**{"file__/big": "x" * (facts_sections.LIMIT + 1)})
    assert len(facts.files["/big"]) == facts_sections.LIMIT
    assert facts.errors["file:/big"] == facts_sections.CUT


def test_output_that_ends_early_says_so() -> None:
    """Without the last line nobody may take the facts for complete."""
    assert "end" in facts_parse.parse(WORKER[: len(WORKER) // 2]).errors


@given(cut=st.integers(0, len(WORKER)), junk=st.text(max_size=40))
def test_no_damage_makes_parsing_fail(cut: int, junk: str) -> None:
    """Cut anywhere, with anything in between, the output still parses to facts."""
    facts = facts_parse.parse(WORKER[:cut] + junk + WORKER[cut + len(junk) :])
    assert isinstance(facts.errors, dict)
