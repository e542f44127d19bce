"""Manifests from files: what counts, where it was found, and what a broken one leads to."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.audit import loading
from tests.audit.test_popular import DOCUMENTS
from unshim.audit import Finding, audit, manifests
from unshim.errors import InvalidSpec

SOCKET = """
spec:
  containers: [{name: app, image: app}]
  volumes: [{name: s, hostPath: {path: /var/run/docker.sock}}]
"""


def found(text: str) -> tuple[Finding, ...]:
    documents = [(f"a.yaml:{n}", d) for n, d in enumerate(yaml.safe_load_all(text), 1)]
    return audit(manifests.snapshot(documents, now=loading.NOW))


def test_a_pod_in_a_file_is_found_where_it_stands() -> None:
    """A finding carries the file and line, and needs no cluster."""
    (finding,) = found(f"kind: Pod\nmetadata: {{name: ci}}{SOCKET}")
    assert (finding.rule, str(finding.subject)) == ("docker-socket", "Pod/ci")
    assert finding.source == "a.yaml:1"
    assert finding.blocks


def test_custom_controllers_count() -> None:
    """Anything with a pod template is looked at, such as an Argo Rollout."""
    template = yaml.safe_load(SOCKET)
    rollout = {"kind": "Rollout", "metadata": {"name": "r"}, "spec": {"template": template}}
    (finding,) = audit(manifests.snapshot([("x", rollout)], now=loading.NOW))
    assert str(finding.subject) == "Rollout/r"


def test_lists_are_opened() -> None:
    """The items of a List and of a typed list count, each with its kind."""
    pod = yaml.safe_load(f"metadata: {{generateName: ci-}}{SOCKET}")
    lists = [
        {"kind": "List", "items": [{"kind": "Pod", **pod}]},
        {"kind": "PodList", "items": [pod]},
    ]
    for document in lists:
        (finding,) = audit(manifests.snapshot([("x", document)], now=loading.NOW))
        assert str(finding.subject) == "Pod/ci-"


@pytest.mark.parametrize("document", [None, [], "text", 7, {}, {"kind": "Service"}, {"kind": []}])
def test_what_is_no_workload_is_passed_over(document: Any) -> None:
    """Empty documents and other kinds are no error."""
    assert not audit(manifests.snapshot([("x", document)], now=loading.NOW))


def test_a_broken_object_is_named() -> None:
    """An object of the wrong shape is an error with its place, never a clean bill."""
    with pytest.raises(InvalidSpec, match=r"a\.yaml:1: this Pod"):
        found("kind: Pod\nmetadata: {name: x}\nspec: {containers: [7]}")


@given(st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_any_damage_is_audited_or_named(rng: random.Random) -> None:
    """A manifest with a part replaced by anything else is audited, or refused by InvalidSpec."""
    document = copy.deepcopy(rng.choice(DOCUMENTS)[1])
    place: Any = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = rng.choice(keys)
        if not isinstance(place[key], dict | list) or not place[key] or rng.random() < 0.2:
            break
        place = place[key]
    place[key] = rng.choice([None, 7, "text", [], {}, [None], {"a": None}, [[]], True])
    try:
        audit(manifests.snapshot([("x", document)], now=loading.NOW))
    except InvalidSpec as exc:
        assert "x: this" in str(exc)  # noqa: PT017  either outcome is right
