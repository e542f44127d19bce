"""The kubelet's command line is read as the kubelet reads it."""

from __future__ import annotations

import pytest

from unshim.core import flags

ENDPOINT = "--container-runtime-endpoint=/run/containerd/containerd.sock"


def test_both_spellings_of_a_value() -> None:
    """`--name=value` and `--name value` are the same flag."""
    found = flags.effective(["kubelet", "--network-plugin", "cni", "--v=2"])
    assert found == {"network-plugin": "cni", "v": "2"}


def test_underscores_are_hyphens() -> None:
    """The kubelet normalises underscores, and so do we."""
    assert flags.effective(["kubelet", "--container_runtime=remote"]) == {
        "container-runtime": "remote"
    }


def test_last_occurrence_wins() -> None:
    """Of a flag given twice the last one counts, as KUBELET_EXTRA_ARGS comes last on purpose."""
    assert flags.effective(["kubelet", "--v=2", "--v=4"])["v"] == "4"


def test_bare_booleans_take_no_value() -> None:
    """A bare boolean does not swallow the word after it."""
    words = ["--rotate-certificates", "stray", "--runonce", "--v", "2"]
    found = flags.occurrences(words)
    assert [(f.name, f.value) for f in found] == [
        ("rotate-certificates", "true"),
        ("runonce", "true"),
        ("v", "2"),
    ]


def test_words_of_an_occurrence() -> None:
    """An occurrence knows the words that write it, so an edit can take all of them."""
    (flag,) = flags.occurrences(["kubelet", "--network-plugin", "cni"])
    assert (flag.first, flag.last) == (1, 2)


def test_flag_before_flag_has_no_value() -> None:
    """A flag unknown to us that is followed by another flag is taken for a boolean."""
    assert flags.effective(["kubelet", "--new-thing", "--v=1"]) == {"new-thing": "true", "v": "1"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.20.2", (1, 20)),
        ("v1.23.17+k3s1", (1, 23)),
        ("20.10.24", (20, 10)),
        ("5.10.0-28", (5, 10)),
    ],
)
def test_minor(text: str, expected: tuple[int, int]) -> None:
    """The first two numbers of every version we meet are found."""
    assert flags.minor(text) == expected


def test_minor_refuses_words() -> None:
    """Text that is no version raises instead of giving a number."""
    with pytest.raises(ValueError, match="not a version"):
        flags.minor("unknown")


@pytest.mark.parametrize(
    "endpoint",
    [
        "unix:///run/containerd/containerd.sock",
        "unix:///var/run/containerd/containerd.sock",
        "/run/containerd/containerd.sock",
    ],
)
def test_every_spelling_of_the_socket(endpoint: str) -> None:
    """containerd's socket is recognised with and without scheme, under /run and /var/run."""
    assert flags.socket_path(endpoint) == flags.CONTAINERD_SOCKET


@pytest.mark.parametrize(
    ("version", "words", "in_config", "expected"),
    [
        ("1.20.2", ENDPOINT, "", False),
        ("1.20.2", f"--container-runtime=remote {ENDPOINT}", "", True),
        ("1.24.0", ENDPOINT, "", True),
        ("1.24.0", "", "/run/containerd/containerd.sock", False),
        ("1.28.0", "", "unix:///run/containerd/containerd.sock", True),
        ("1.28.0", "", "", True),
        ("1.28.0", "--container-runtime-endpoint=/run/cri-dockerd.sock", "", False),
        ("1.28.0", "", "unix:///run/cri-dockerd.sock", False),
    ],
)
def test_on_containerd(version: str, words: str, in_config: str, expected: bool) -> None:
    """A kubelet counts as moved only when its own version really talks to containerd."""
    assert flags.on_containerd(["kubelet", *words.split()], version, in_config) is expected
