"""The audit as a whole: order, suppression, counting, and what a run's preflight asks."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest

from tests.audit import loading, pages
from tests.audit.test_popular import DOCUMENTS
from tests.fakes import control_plane
from unshim.audit import (
    RULES,
    Finding,
    Ignore,
    Severity,
    Snapshot,
    Subject,
    audit,
    counts,
    manifests,
    preflight,
)
from unshim.audit.rules.runtime import version
from unshim.core.objects import Node
from unshim.core.options import Options
from unshim.errors import InvalidSpec

FOREIGN = {"containers": [{"id": "f", "name": "/x", "image": "x", "state": "running"}]}


def deployment(name: str = "ci", **more: Any) -> dict[str, Any]:
    volumes = [{"name": "s", "hostPath": {"path": "/var/run/docker.sock"}}]
    spec = {"containers": [{"name": "app", "image": "app"}], "volumes": volumes}
    meta = {"name": name, "namespace": "build", **more}
    return {"kind": "Deployment", "metadata": meta, "spec": {"template": {"spec": spec}}}


def snapshot(**raw: Any) -> Snapshot:
    return loading.snapshot({"controllers": [deployment()], **raw})


def only(snapshot: Snapshot, *ignore: str | Ignore, rule: str = "docker-socket") -> Finding:
    (finding,) = [f for f in audit(snapshot, ignore) if f.rule == rule]
    return finding


@pytest.mark.parametrize(
    "text",
    [
        "docker-socket",
        "docker-socket:build/ci",
        "docker-socket:Deployment/build/ci",
        "docker-socket:build/*",
    ],
)
def test_a_rule_can_be_ignored_with_a_reason(text: str) -> None:
    """For every object, for one, and for a group; the reason stays with the finding."""
    finding = only(snapshot(), f"{text}=moves next month")
    assert finding.suppressed_by == "moves next month"
    assert not finding.blocks


@pytest.mark.parametrize("text", ["docker-socket:build/other=x", "docker-data=x"])
def test_an_ignore_reaches_no_further_than_it_says(text: str) -> None:
    """Another object's or another rule's ignore changes nothing."""
    assert only(snapshot(), text).blocks


def test_an_ignore_of_no_rule_is_an_error() -> None:
    """A misspelt rule would ignore nothing, silently: so it is refused."""
    with pytest.raises(InvalidSpec, match="docker-sockets"):
        audit(snapshot(), ["docker-sockets"])


def test_an_ignored_finding_without_reason_says_so() -> None:
    """There is always a text in the report."""
    assert "no reason" in only(snapshot(), "docker-socket").suppressed_by


def test_the_object_may_carry_the_ignore() -> None:
    """An annotation on the workload suppresses one rule for it."""
    note = {"ignore.unshim.dev/docker-socket": "gone in May"}
    assert only(snapshot(controllers=[deployment(annotations=note)])).suppressed_by == "gone in May"


def test_firm_rules_cannot_be_ignored() -> None:
    """Nobody may accept the death of a container that Kubernetes does not own."""
    raw = {"facts": {"docker": FOREIGN}}
    assert only(snapshot(**raw), "foreign-containers=yes", rule="foreign-containers").blocks


def test_order_does_not_depend_on_the_order_of_objects() -> None:
    """Any order of the same objects gives the same report, and the gravest comes first."""
    whole = manifests.snapshot(DOCUMENTS, now=loading.NOW)
    shuffled = list(whole.controllers)
    random.Random(1).shuffle(shuffled)  # noqa: S311  an order, not a secret
    assert audit(replace(whole, controllers=tuple(shuffled))) == audit(whole)
    ranks = [finding.severity.rank for finding in audit(whole)]
    assert ranks == sorted(ranks)


def test_a_template_and_its_pods_are_one_finding() -> None:
    """One workload on three nodes is one finding that names the nodes."""
    pods = [
        {
            "metadata": {
                "name": f"ci-7f-{node}",
                "namespace": "build",
                "uid": node,
                "labels": {"pod-template-hash": "7f"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": "ci-7f", "controller": True}],
            },
            "spec": {**deployment()["spec"]["template"]["spec"], "nodeName": node},
            "status": {"phase": "Running"},
        }
        for node in ("w3", "w1", "w2")
    ]
    finding = only(snapshot(pods=pods))
    assert finding.subject == Subject(kind="Deployment", namespace="build", name="ci")
    assert finding.nodes == ("w1", "w2", "w3")
    assert finding.chain[-2:] == ("ReplicaSet/ci-7f", "Deployment/ci")


def test_counts_and_short_form() -> None:
    """A status carries counts and short findings."""
    findings = audit(snapshot(), ["docker-socket=later"])
    assert counts(findings)["suppressed"] == 1
    assert counts(findings)["blocker"] == 0
    short = findings[0].as_status()
    assert json.loads(json.dumps(short)) == short
    assert {"rule", "severity", "subject", "message", "fix"} <= set(short)


def test_rules_are_well_told() -> None:
    """Ids are unique and lower case; every rule says what, why, and how to mend it."""
    assert len({rule.id for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.id == rule.id.lower()
        for text in (rule.title, rule.why, rule.fix):
            assert text
            assert "  " not in text
        assert not rule.title.endswith(".")
        assert rule.why.endswith(".")
        assert rule.fix.endswith(".")


def test_every_rule_leads_to_documentation() -> None:
    """A public page, or the rule's own section; most have a page that others keep."""
    ours = {rule.id: rule.link for rule in RULES if not rule.link.startswith("https://")}
    sections = (pages.DOCS / "rules.md").read_text()
    for rule, link in ours.items():
        assert link == f"docs/rules.md#{rule}"
        assert f"\n## {rule}\n" in sections
    assert len(ours) < len(RULES) / 6
    assert not any(" " in rule.link for rule in RULES)


def test_only_blockers_are_firm() -> None:
    """What cannot be ignored is grave, except where the rule only informs in an audit."""
    firm = {rule.id for rule in RULES if rule.firm and rule.severity is not Severity.BLOCKER}
    assert firm == {"already-on-containerd"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("1.6.20~ds1-1", (1, 6, 20)), ("v1.7", (1, 7)), ("20.10.24+dfsg1", (20, 10, 24)), ("x", ())],
)
def test_versions_are_read_as_packages_write_them(text: str, wanted: tuple[int, ...]) -> None:
    """The leading numbers count; a text without any is no version."""
    assert version(text) == wanted


def quorum(peers: list[Node] | None) -> set[str]:
    asked = preflight(
        control_plane("m1"), (), None, Options(node="m1"), now=loading.NOW, peers=peers
    )
    return {f.rule for f in audit(asked)} & {"etcd-quorum", "single-control-plane"}


def test_a_preflight_knows_the_quorum_from_the_peers() -> None:
    """With its peers given, a control plane is not taken down when another one is."""
    assert quorum([control_plane("m2"), control_plane("m3", ready=False)]) == {"etcd-quorum"}
    assert quorum([control_plane("m1"), control_plane("m2"), control_plane("m3")]) == set()
    assert quorum([]) == {"single-control-plane"}
    assert quorum(None) == set()


@pytest.mark.parametrize(
    ("options", "running", "severity"),
    [(None, False, "blocker"), ({}, False, "warning"), ({}, True, "blocker")],
    ids=["no run is planned", "nothing of it runs", "a pod of it is on the node"],
)
def test_only_what_runs_can_refuse_a_run(
    options: dict[str, Any] | None, running: bool, severity: str
) -> None:
    """A template without pods is still told of, but the run that this audit foretells goes on."""
    owner = {"kind": "Deployment", "name": "ci", "controller": True}
    meta = {"name": "ci-1", "namespace": "build", "uid": "u", "ownerReferences": [owner]}
    spec = {**deployment()["spec"]["template"]["spec"], "nodeName": loading.NODE}
    pod = {"metadata": meta, "spec": spec, "status": {"phase": "Running"}}
    raw: dict[str, Any] = {"controllers": [deployment()], "pods": [pod] if running else []}
    if options is not None:
        raw |= {"options": options, "targets": [loading.NODE]}
    found = audit(loading.snapshot(raw))
    (said,) = (f for f in found if f.rule == "docker-socket")
    assert said.severity.value == severity
