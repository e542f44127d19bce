"""Every face of the audit: what it promises to its readers, with hostile text in the findings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from unshim.audit import RULES, Finding, Severity, Subject
from unshim.report import RENDERERS, Meta, NodePlan, PlannedStep
from unshim.report.model import size
from unshim.report.structured import document

META = Meta(at=datetime(2026, 1, 1, 12, tzinfo=UTC), version="0.1.0", scope="2 nodes", nodes=2)
PLANS = {
    "w1": NodePlan(
        steps=(
            PlannedStep(
                step="kubelet-flags",
                summary="point the kubelet at containerd",
                state="would apply",
                diff='--- /a\n+++ /a\n@@ -1 +1 @@\n-KUBELET_ARGS="--v=2"\n+KUBELET_ARGS=""\n',
            ),
            PlannedStep(step="stop-docker", summary="stop Docker", state="already so"),
        ),
        handover=(("lab.test/a:1", 1073741824), ("lab.test/b:1", 536870912)),
        image_bytes=1610612736,
        down_seconds=(3, 15),
    )
}


def finding(**more: Any) -> Finding:
    fields: dict[str, Any] = {
        "rule": "docker-socket",
        "severity": Severity.BLOCKER,
        "subject": Subject(kind="Deployment", namespace="ci", name="runner"),
        "message": "mounts /var/run/docker.sock (volume s in app)",
        "title": "A pod uses Docker's socket",
        "nodes": ("w1", "w2"),
        "chain": ("Pod/runner-x", "ReplicaSet/runner-7f", "Deployment/runner"),
        "why": "Nobody answers there.",
        "fix": "Use BuildKit.",
        "link": "https://kubernetes.io/docs/",
    }
    return Finding(**{**fields, **more})


FINDINGS = (
    finding(),
    finding(rule="docker-data", severity=Severity.WARNING, source="charts/web.yaml:12"),
    finding(rule="docker-host", suppressed_by="CI leaves next month"),
    finding(rule="gpu-node", severity=Severity.INFO, subject=Subject(kind="Node", name="w1")),
)


def rendered(name: str, findings: tuple[Finding, ...] = FINDINGS) -> str:
    return RENDERERS[name](findings, PLANS, META)


@pytest.mark.parametrize("name", sorted(RENDERERS))
def test_every_face_is_stable_and_ends_its_last_line(name: str) -> None:
    """The same findings give the same text, and the text ends with a line break."""
    assert rendered(name) == rendered(name)
    assert rendered(name).endswith("\n")


@pytest.mark.parametrize("name", sorted(RENDERERS))
def test_every_face_can_say_nothing_found(name: str) -> None:
    """An audit without findings and plans is a report too."""
    assert RENDERERS[name]((), {}, META)


def test_table_says_everything_a_person_needs() -> None:
    """Verdict, object, nodes, fix, the reason of what is ignored, the diff and the numbers."""
    text = rendered("table")
    for said in (
        "1 blocker: a migration would be refused.",
        "Deployment/ci/runner",
        "[on w1, w2]",
        "charts/web.yaml:12",
        "ignored: CI leaves next month",
        "Fix: Use BuildKit.",
        "See: https://kubernetes.io/docs/",
        "+KUBELET_ARGS",
        "2 images to copy (1.5 GiB), pods that stay are down for 3 to 15 s",
    ):
        assert said in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 120


def test_table_says_once_what_holds_for_many_nodes() -> None:
    """Five thousand nodes with the same flag are one line, which names the first of them."""
    alike = tuple(
        finding(
            rule="gpu-node",
            severity=Severity.INFO,
            subject=Subject(kind="Node", name=name),
            message=f"{name}: 4 nvidia.com/gpu",
            nodes=(name,),
        )
        for name in ("w1", "w2", "w3", "w4")
    )
    text = " ".join(rendered("table", alike).split())
    assert "Node/(4 nodes) each: 4 nvidia.com/gpu [on w1, w2, w3 and 1 more]" in text
    assert "Node/w2" not in text


def test_table_cannot_move_the_cursor() -> None:
    """Text from the cluster reaches the terminal without control characters."""
    text = rendered("table", (finding(message="a\x1b[2Jb\rc\x07"),))
    assert not set(text) & {"\x1b", "\r", "\x07"}


def test_json_counts_and_says_whether_a_run_is_blocked() -> None:
    """A script reads `blocked` and `counts`; a suppressed blocker blocks nothing."""
    told = json.loads(rendered("json"))
    assert told["blocked"] is True
    assert told["counts"] == {"blocker": 1, "warning": 1, "info": 1, "suppressed": 1}
    assert told["findings"][2]["suppressedBy"] == "CI leaves next month"
    assert told["plans"]["w1"]["downSeconds"] == [3, 15]


def test_yaml_is_the_json() -> None:
    """Both hold the same data."""
    assert yaml.safe_load(rendered("yaml")) == json.loads(rendered("json"))


HOSTILE = st.text(max_size=40) | st.sampled_from(
    [
        "no",
        "",
        "- a: b",
        "#x",
        "{{",
        "'\"",
        "1e3",
        "\x85\u2028\ufeff",
        "]]>",
        "</script><b>",
        "&lt;",
    ]
)


@settings(deadline=None)  # a busy machine is no fault of ours
@given(HOSTILE, HOSTILE)
def test_yaml_keeps_any_text(message: str, name: str) -> None:
    """No text of a cluster changes its meaning, or the document's, in YAML."""
    plans = {name: PLANS["w1"]}
    findings = (finding(message=message, subject=Subject(kind="Pod", name=name)),)
    text = RENDERERS["yaml"](findings, plans, META)
    wanted: Mapping[str, Any] = json.loads(json.dumps(document(findings, plans, META)))
    assert yaml.safe_load(text) == wanted


@given(HOSTILE, HOSTILE)
def test_junit_is_xml_whatever_the_text(message: str, reason: str) -> None:
    """Any text gives a document that parses, with one failure for each blocker."""
    text = rendered("junit", (finding(message=message), finding(suppressed_by=reason or "x")))
    root = ElementTree.fromstring(text)  # noqa: S314  our own output
    assert len(root.findall(".//failure")) == 1 == int(root.get("failures", ""))
    assert len(root.findall(".//skipped")) == 1
    assert len(root.findall(".//testcase")) == int(root.get("tests", ""))


def test_junit_has_a_suite_for_every_rule() -> None:
    """What was looked at and found well is in the report as a test that passed."""
    root = ElementTree.fromstring(rendered("junit", ()))  # noqa: S314  our own output
    suites = [suite.get("name") for suite in root.findall("testsuite")]
    assert suites == [*(rule.id for rule in RULES), "plan"]
    assert not root.findall(".//failure")


def test_sarif_points_at_rules_and_places() -> None:
    """Every result names a rule of the driver, a place, and a stable fingerprint."""
    run = json.loads(rendered("sarif"))["runs"][0]
    ids = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(ids) == len(set(ids)) == len(RULES)
    for result in run["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"]
        assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    fingerprints = {str(result["partialFingerprints"]) for result in run["results"]}
    assert len(fingerprints) == len(run["results"])
    place = run["results"][1]["locations"][0]["physicalLocation"]
    assert place == {
        "artifactLocation": {"uri": "charts/web.yaml"},
        "region": {"startLine": 12},
    }
    assert run["results"][2]["suppressions"][0]["justification"] == "CI leaves next month"


SAID = ("kubelet-flags", "point the kubelet at containerd", "would apply", "already so")


@pytest.mark.parametrize("name", sorted(RENDERERS))
def test_every_face_tells_the_plan(name: str) -> None:
    """Each step with its state, the diff, and what the migration costs."""
    text = rendered(name)
    numbers = (
        ("1610612736", "15") if name in ("json", "yaml", "sarif") else ("1.5 GiB", "3 to 15 s")
    )
    for said in (*SAID, "+KUBELET_ARGS", "lab.test/b:1", *numbers):
        assert said in text, said


def test_table_says_once_what_is_planned_for_many_nodes() -> None:
    """The same steps and diffs are shown once; numbers are each node's own."""
    plans = dict.fromkeys(("w1", "w2", "w3"), PLANS["w1"])
    text = RENDERERS["table"]((), plans, META)
    assert text.count("+KUBELET_ARGS") == 1
    assert "A migration of w1, w2, w3 would run 2 steps:" in text
    assert "w3: 2 images to copy" in text


class Page(HTMLParser):
    """Collects the tags and what they would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [f"{tag} {name}" for name, _ in attrs if name in ("src", "srcset", "data")]
        self.loads += [tag for _ in attrs if tag in ("link", "iframe", "img", "object", "embed")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def test_page_loads_nothing() -> None:
    """The page has no external request, and its own policy forbids any."""
    text = rendered("html")
    page = Page(text)
    assert not page.loads
    assert not page.handlers
    assert "default-src 'none'" in text
    assert "@import" not in text
    assert "url(" not in text


@given(HOSTILE)
def test_page_holds_no_markup_of_the_cluster(message: str) -> None:
    """Text of a cluster never becomes an element of the page."""
    plain = Page(rendered("html", (finding(message="x"),)))
    hostile = Page(rendered("html", (finding(message=message, nodes=(message,)),)))
    assert hostile.tags == plain.tags


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (2048, "2.0 KiB"), (5 << 20, "5.0 MiB"), (3 << 30, "3.0 GiB")]
)
def test_sizes_are_for_people(count: int, text: str) -> None:
    """Bytes are shown in the largest unit that fits."""
    assert size(count) == text
