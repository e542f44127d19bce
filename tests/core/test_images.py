"""Which images a node hands over, and which pulls it rehearses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.edits import cases
from unshim.core import images
from unshim.core.facts import NodeFacts
from unshim.core.objects import CANARY_LABEL

PAUSE = {"tags": ["k8s.gcr.io/pause:3.2"], "digests": ["k8s.gcr.io/pause@sha256:" + "a" * 64]}
NGINX = {"tags": ["nginx:1.25"], "digests": ["nginx@sha256:" + "b" * 64], "size": 100}


def node(*found: dict[str, Any]) -> NodeFacts:
    """A kubeadm node with these images besides its pause image."""
    return cases.facts(cases.merged(cases.base(), {"docker": {"images": [PAUSE, *found]}}))


def pod(image: str, policy: str = "", phase: str = "Running") -> dict[str, Any]:
    """A pod of one container."""
    container = {"name": "c", "image": image} | ({"imagePullPolicy": policy} if policy else {})
    return {"spec": {"containers": [container]}, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.25", "docker.io/library/nginx:1.25"),
        ("calico/node:v3", "docker.io/calico/node:v3"),
        ("docker.io/nginx:1", "docker.io/library/nginx:1"),
        ("index.docker.io/library/nginx:1", "docker.io/library/nginx:1"),
        ("localhost/app:1", "localhost/app:1"),
        ("reg.corp:5000/app", "reg.corp:5000/app:latest"),
        ("k8s.gcr.io/pause:3.2", "k8s.gcr.io/pause:3.2"),
        ("nginx@sha256:abc", "docker.io/library/nginx@sha256:abc"),
        ("nginx:1@sha256:abc", "docker.io/library/nginx@sha256:abc"),
    ],
)
def test_normalised(ref: str, expected: str) -> None:
    """A name becomes what containerd stores for it."""
    assert images.normalised(ref) == expected


def test_pause_image_always_moves() -> None:
    """Without its pause image no pod starts, so it moves even from an idle node."""
    assert images.handover(node(), []) == ("k8s.gcr.io/pause:3.2",)


def test_used_image_moves_under_dockers_own_name() -> None:
    """What pods use is handed over by the tag Docker knows, however the pod spells it."""
    found = images.handover(node(NGINX), [pod("docker.io/library/nginx:1.25", "IfNotPresent")])
    assert found == ("k8s.gcr.io/pause:3.2", "nginx:1.25")


def test_always_is_rehearsed_not_moved() -> None:
    """An image with policy Always would be pulled anyway: the pull is tried beforehand."""
    pods = [pod("nginx:1.25", "Always")]
    assert images.handover(node(NGINX), pods) == ("k8s.gcr.io/pause:3.2",)
    assert images.rehearse(node(NGINX), pods) == ("docker.io/library/nginx:1.25",)


def test_absent_policy_is_the_api_servers_default() -> None:
    """Without a policy `:latest` means Always, anything else IfNotPresent."""
    latest = {"tags": ["app:latest"], "digests": ["app@sha256:" + "c" * 64]}
    facts = node(NGINX, latest)
    assert images.rehearse(facts, [pod("app"), pod("nginx:1.25")]) == (
        "docker.io/library/app:latest",
    )


def test_image_built_here_moves_unused() -> None:
    """An image without a registry digest exists here alone: a later pod finds it nowhere else."""
    assert "local/tool:1" in images.handover(node({"tags": ["local/tool:1"]}), [])


def test_image_built_here_is_never_rehearsed() -> None:
    """No registry has it, so a failed pull of it would say nothing."""
    facts = node({"tags": ["local/tool:1"]})
    assert images.rehearse(facts, [pod("local/tool:1", "Always")]) == ()


def test_never_policy_moves_and_is_not_rehearsed() -> None:
    """A pod that must not pull gets its image moved."""
    pods = [pod("nginx:1.25", "Never")]
    assert "nginx:1.25" in images.handover(node(NGINX), pods)
    assert images.rehearse(node(NGINX), pods) == ()


def test_digest_is_rehearsed() -> None:
    """An import cannot give an image its registry digest, so the pull is tried instead."""
    ref = "nginx@sha256:" + "b" * 64
    assert images.handover(node(NGINX), [pod(ref, "IfNotPresent")]) == ("k8s.gcr.io/pause:3.2",)
    assert images.rehearse(node(NGINX), [pod(ref, "IfNotPresent")]) == (images.normalised(ref),)


def test_image_that_docker_lacks_is_rehearsed() -> None:
    """A pod whose image is still to come will have it pulled by containerd."""
    assert images.rehearse(node(), [pod("reg.corp/x:1", "IfNotPresent")]) == ("reg.corp/x:1",)


def test_untagged_images_are_skipped() -> None:
    """`<none>` names an image that nothing can be imported under."""
    assert images.handover(node({"tags": ["<none>:<none>"]}), []) == ("k8s.gcr.io/pause:3.2",)


def test_finished_pods_need_nothing() -> None:
    """A Succeeded pod runs no container again."""
    pods = [pod("nginx:1.25", "IfNotPresent", phase="Succeeded")]
    assert images.handover(node(NGINX), pods) == ("k8s.gcr.io/pause:3.2",)


@pytest.mark.parametrize(
    "metadata", [{"deletionTimestamp": "2026-01-01T00:00:00Z"}, {"labels": {CANARY_LABEL: ""}}]
)
def test_pods_that_are_going_are_not_rehearsed(metadata: dict[str, Any]) -> None:
    """A canary whose image was missing must not fail the next run's rehearsal."""
    going = {**pod("reg.corp/not-there:1"), "metadata": metadata}
    assert images.rehearse(node(), [going]) == ()


def test_init_and_ephemeral_containers_count() -> None:
    """Every kind of container brings its image."""
    spec = {
        "initContainers": [{"image": "nginx:1.25"}],
        "ephemeralContainers": [{"image": "nginx:1.25"}],
    }
    assert images.handover(node(NGINX), [{"spec": spec}])[1:] == ("nginx:1.25",)


@pytest.mark.parametrize("ref", ["nginx:1.25; reboot", "$(reboot)", "-rf", "a b", "a\nb"])
def test_names_that_could_be_commands_are_left_out(ref: str) -> None:
    """A pod's image field is a stranger's text: only plain references reach a script."""
    pods = [pod(ref, "Always"), pod(ref, "IfNotPresent")]
    facts = node({"tags": [ref]})
    assert images.rehearse(facts, pods) == ()
    assert images.handover(facts, pods) == ("k8s.gcr.io/pause:3.2",)


def test_sizes() -> None:
    """Room is asked for content and snapshot, twice the images' size; each image counts once."""
    facts = node(NGINX)
    pods = [pod("nginx:1.25"), pod("docker.io/library/nginx:1.25")]
    assert images.handover_bytes(facts, pods) == 101
    assert images.disk_need_bytes(facts, pods) == 202
