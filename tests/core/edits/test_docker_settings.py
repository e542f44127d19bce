"""Every setting of the Docker daemon has a fate: none is passed over in silence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.core.edits import cases
from unshim.core.edits import docker_keys, docker_settings
from unshim.core.edits.docker_settings import Fate, Outcome, Translation
from unshim.core.edits.docker_values import LogRotation


def translate(daemon: dict[str, Any], **docker: Any) -> Translation:
    """The translation on a kubeadm node with this daemon.json."""
    over = {"files": {docker_settings.DAEMON_JSON: json.dumps(daemon)}, "docker": docker}
    return docker_settings.translate(cases.facts(cases.merged(cases.base(), over)))


def fate(daemon: dict[str, Any], key: str) -> Fate:
    """What becomes of one key."""
    return next(f for f in translate(daemon).fates if f.key == key)


def test_unknown_key_blocks() -> None:
    """A setting that we do not know may matter: a person must look."""
    found = fate({"quantum-mode": True}, "quantum-mode")
    assert found.outcome is Outcome.BLOCKER
    assert "unknown" in found.note


def test_no_key_is_in_two_tables() -> None:
    """A key has one fate."""
    tables = (docker_keys.TRANSLATED, docker_keys.DROPPED, docker_keys.BLOCKERS)
    keys = [key for table in tables for key in table]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("log-driver", "journald"),
        ("log-driver", "fluentd"),
        ("userns-remap", "default"),
        ("authorization-plugins", ["opa"]),
        ("storage-driver", "zfs"),
        ("exec-opts", ["native.cgroupdriver=cgroupfs"]),
        ("default-runtime", "kata"),
        ("default-ulimits", {"strange": {"Soft": 1, "Hard": 1}}),
    ],
)
def test_blockers(key: str, value: Any) -> None:
    """What containerd cannot take over blocks, with a reason."""
    found = fate({key: value}, key)
    assert found.outcome is Outcome.BLOCKER
    assert found.note


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("log-driver", "json-file"),
        ("storage-driver", "overlay2"),
        ("exec-opts", ["native.cgroupdriver=systemd"]),
        ("default-runtime", "runc"),
        ("registry-mirrors", ["https://m"]),
        ("default-ulimits", {"nofile": {"Soft": 1, "Hard": 1}}),
    ],
)
def test_translated(key: str, value: Any) -> None:
    """What containerd can take over says where it goes."""
    found = fate({key: value}, key)
    assert found.outcome is Outcome.TRANSLATED
    assert found.note


@pytest.mark.parametrize("key", sorted(docker_keys.DROPPED))
def test_dropped(key: str) -> None:
    """A dropped setting never blocks, and one that is off is not worth a notice."""
    assert fate({key: ["x"]}, key).outcome is Outcome.DROPPED
    assert fate({key: False}, key).note == ""


def test_local_api_is_not_worth_a_notice() -> None:
    """Docker's own socket is no remote API; a TCP address is."""
    assert fate({"hosts": ["fd://", "unix:///var/run/docker.sock"]}, "hosts").note == ""
    assert fate({"hosts": ["fd://", "tcp://0.0.0.0:2376"]}, "hosts").note


def test_lost_log_options_are_named() -> None:
    """Log options without a counterpart are notices, one each."""
    found = translate({"log-opts": {"max-size": "10m", "tag": "x", "compress": "true"}})
    assert {f.key for f in found.notices} == {"log-opts.tag", "log-opts.compress"}


def test_proxy_values_are_hidden() -> None:
    """A proxy's URL may hold a password: no fate shows it."""
    found = fate({"proxies": {"http-proxy": "http://u:secret@p"}}, "proxies")
    assert "secret" not in found.value


@pytest.mark.parametrize(
    ("size", "quantity"),
    [
        ("10m", "10M"),
        ("10mb", "10M"),
        ("10MiB", "10M"),
        ("1.5g", "1500M"),
        ("512k", "512k"),
        ("1000", "1k"),
        ("1001", "1001"),
    ],
)
def test_log_size_keeps_its_meaning(size: str, quantity: str) -> None:
    """Docker counts in powers of ten, and to Kubernetes a small m is a thousandth."""
    found = translate({"log-opts": {"max-size": size}}).log_rotation
    assert found == LogRotation(max_size=quantity, max_files=2)


@pytest.mark.parametrize(
    "daemon",
    [
        {},
        {"log-opts": {"max-file": "3"}},
        {"log-opts": {"max-size": "-1"}},
        {"log-driver": "journald", "log-opts": {"max-size": "10m"}},
    ],
)
def test_no_rotation_is_no_rotation(daemon: dict[str, Any]) -> None:
    """Without a size Docker rotates nothing, and we set nothing."""
    assert translate(daemon).log_rotation is None


def test_local_driver_keeps_five_files() -> None:
    """The local driver's default number of files is five."""
    found = translate({"log-driver": "local", "log-opts": {"max-size": "5m"}}).log_rotation
    assert found == LogRotation(max_size="5M", max_files=5)


def test_arguments_of_dockerd_are_settings() -> None:
    """What dockerd's command line says counts as if daemon.json said it."""
    argv = """/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock
    --log-opt max-size=1g --log-opt max-file=4 --registry-mirror https://m --selinux-enabled
    --exec-opt native.cgroupdriver=systemd --default-ulimit nofile=1024:2048 --live-restore
    --add-runtime nvidia=/usr/bin/nvidia-container-runtime --default-runtime=nvidia -s overlay2
    --max-concurrent-downloads=6"""
    found = translate({}, argv=argv)
    assert found.blockers == ()
    assert found.log_rotation == LogRotation(max_size="1G", max_files=4)
    assert found.mirrors == ("https://m",)
    assert found.selinux
    assert found.limits == {"LimitNOFILE": "1024:2048"}
    assert found.default_runtime == "nvidia"
    assert found.max_concurrent_downloads == 6


def test_a_plain_debian_daemon_has_no_blockers_and_no_notices() -> None:
    """The daemon as packages start it moves without a word."""
    found = translate({})
    assert (found.blockers, found.notices) == ((), ())
