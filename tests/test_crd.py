"""The CRD: examples pass its schema, nonsense does not, and every status we write fits it."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from unshim.audit import finding
from unshim.core import proof, resource, status
from unshim.core.decide import Action, Result
from unshim.core.options import DrainOptions, Options, VerifyOptions
from unshim.core.plan import PlannedStep
from unshim.core.status import Progress
from unshim.drain import DrainState

ROOT = Path(__file__).parent.parent
CRD: dict[str, Any] = yaml.safe_load((ROOT / "crds/nodemigrations.yaml").read_text())
VERSION = CRD["spec"]["versions"][0]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with unknown fields refused, where an API server would drop them silently."""
    schema = copy.deepcopy(schema)
    if "properties" in schema:
        schema["additionalProperties"] = False
        schema["properties"] = {k: closed(v) for k, v in schema["properties"].items()}
    if "items" in schema:
        schema["items"] = closed(schema["items"])
    return schema


def check(body: dict[str, Any]) -> None:
    checker = jsonschema.Draft202012Validator(
        closed(SCHEMA), format_checker=jsonschema.FormatChecker()
    )
    checker.validate(body)


def migration(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "unshim.dev/v1alpha1",
        "kind": "NodeMigration",
        "metadata": {},
        "spec": {"node": "worker-1"} | spec,
    }


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_valid(path: Path) -> None:
    """Every example passes the schema and the operator's own check."""
    body = yaml.safe_load(path.read_text())
    metadata, body["metadata"] = body["metadata"], {}
    check(body)
    body["metadata"] = metadata | {"uid": "u"}
    assert resource.parse(body).options.node


def test_every_option_is_shown_with_its_default() -> None:
    """examples/every-option.yaml holds every field of the spec, and says the true defaults."""
    spec = yaml.safe_load((ROOT / "examples/every-option.yaml").read_text())["spec"]

    def names(schema: dict[str, Any], at: str = "") -> set[str]:
        own = {at + name for name in schema.get("properties", {})}
        return own.union(
            *(names(sub, f"{at}{name}.") for name, sub in schema.get("properties", {}).items())
        )

    def given(values: dict[str, Any], at: str = "") -> set[str]:
        nested = [given(v, f"{at}{k}.") for k, v in values.items() if isinstance(v, dict)]
        return {at + name for name in values}.union(*nested)

    assert given(spec) == names(SCHEMA["properties"]["spec"])
    spec["drain"]["podSelector"] = ""
    assert resource.options(spec) == Options(node="worker-1")


@pytest.mark.parametrize(
    "spec",
    [
        {"node": ""},
        {"node": "Worker_1"},
        {"node": "a;reboot"},
        {"node": "-x"},
        {"dryRun": "yes"},
        {"playbook": "../../etc/x"},
        {"playbook": "a b"},
        {"deadManSeconds": 59},
        {"deadManSeconds": 3601},
        {"drain": {"gracePeriodSeconds": -2}},
        {"drain": {"timeoutSeconds": 0}},
        {"drain": {"deleteEmptyDir": True}},
        {"verify": {"readings": 0}},
        {"verify": {"timeoutSeconds": 5}},
        {"audit": {"ignore": "all"}},
        {"audit": {"ignore": ["$(x)"]}},
        {"command": "rm -rf /"},
    ],
)
def test_nonsense_is_refused(spec: dict[str, Any]) -> None:
    """A wrong type, a value out of bounds, an unknown field: refused by the schema."""
    with pytest.raises(jsonschema.ValidationError):
        check(migration(**spec))


def test_a_node_is_required() -> None:
    """Nothing but the node must be given."""
    check(migration())
    with pytest.raises(jsonschema.ValidationError):
        check({"apiVersion": "unshim.dev/v1alpha1", "kind": "NodeMigration", "spec": {}})


def test_defaults_are_the_codes_defaults() -> None:
    """The schema's defaults and the operator's are one truth."""
    properties = SCHEMA["properties"]["spec"]["properties"]

    def defaults(at: str) -> dict[str, Any]:
        fields = properties[at]["properties"] if at else properties
        return {name: field["default"] for name, field in fields.items() if "default" in field}

    drain, verify, options = DrainOptions(), VerifyOptions(), Options(node="x")
    assert defaults("drain") == {
        "timeoutSeconds": drain.timeout_seconds,
        "force": drain.force,
        "deleteEmptyDirData": drain.delete_empty_dir_data,
        "ignoreDaemonSets": drain.ignore_daemon_sets,
    }
    assert defaults("verify") == {
        "timeoutSeconds": verify.timeout_seconds,
        "readings": verify.readings,
    }
    assert properties["deadManSeconds"]["default"] == options.dead_man_seconds
    assert properties["playbook"]["default"] == options.playbook


def render(progress: Progress) -> dict[str, Any]:
    new = status.render(progress, {}, 3, datetime(2026, 1, 1, tzinfo=UTC))
    return {name: value for name, value in new.items() if value is not None}


FINDING = finding.Finding(
    rule="r",
    severity=finding.Severity.INFO,
    subject=finding.Subject(kind="Node", name="worker-1"),
    message="m",
    suppressed_by="accepted",
)
FULL = Progress(
    run="0b1c",
    node="worker-1",
    phase="Draining",
    step="stop-docker",
    reason="Draining",
    message="1 pod has to leave",
    runtime="docker://20.10.24",
    reached=frozenset({"Audited"}),
    findings=(FINDING.as_status(),) * 60,
    counts=finding.counts(()),
    plan=(PlannedStep(step="s", summary="t", state="already so").as_status(),),
    report="unshim-system/unshim-report-worker-1",
    report_error="the API server forbids it",
    drain=DrainState(done=False, pending=1, total=2, blocked_by=("b",)).as_status(),
    checks=(proof.Check(name="ready", ok=False, message="no").as_status(),),
)


def test_a_full_status_fits() -> None:
    """Every field that the operator writes is in the schema, with its type."""
    check(migration() | {"status": render(FULL)})


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize("verdict", ["", "confirmed", "rolled-back DeadManExpired"])
def test_every_phase_fits(action: Action, verdict: str) -> None:
    """No action of the engine makes a phase that the API server would refuse."""
    phase = status.phase(action, verdict, None)
    check(migration() | {"status": render(Progress(run="r", node="n", phase=phase))})


@pytest.mark.parametrize("result", list(Result))
def test_every_result_fits(result: Result) -> None:
    """However a run ends, its status can be written."""
    phase = status.phase(Action.FINISH, "", result)
    ended = Progress(run="r", node="n", phase=phase, result=result, reason="Because")
    check(migration() | {"status": render(ended)})


def test_empty_strings_are_nullable() -> None:
    """Every string that a status may hold empty is nullable: 1.20 can take "" for null (seen)."""
    ended = Progress(run="r", node="n", phase="Failed", result=Result.FAILED)
    check_row = proof.Check(name="ready", ok=True).as_status()
    row = {"rule": "r", "severity": "info", "subject": "", "message": "", "fix": ""}
    plan = {"step": "s", "summary": "", "state": "", "diff": ""}
    body = render(replace(ended, checks=(check_row,), findings=(row,), plan=(plan,)))

    def walk(value: Any, schema: dict[str, Any], at: str) -> None:
        if value == "":
            assert schema.get("nullable"), at
        for name, sub in value.items() if isinstance(value, dict) else ():
            walk(sub, schema["properties"][name], f"{at}.{name}")
        for item in value if isinstance(value, list) else ():
            walk(item, schema["items"], f"{at}[]")

    walk(body, SCHEMA["properties"]["status"], "status")


def test_the_crd_is_structural_and_old_servers_take_it() -> None:
    """v1, one stored version, a type everywhere, no keyword that 1.16 does not know."""
    assert CRD["apiVersion"] == "apiextensions.k8s.io/v1"
    assert CRD["metadata"]["name"] == f"{resource.PLURAL}.{resource.GROUP}"
    assert CRD["spec"]["names"]["kind"] == resource.KIND
    assert CRD["spec"]["scope"] == "Cluster"
    assert VERSION["name"] == resource.VERSION
    assert VERSION["subresources"] == {"status": {}}
    assert [c["name"] for c in VERSION["additionalPrinterColumns"] if not c.get("priority")] == [
        "Node", "Phase", "Step", "Reason", "Runtime", "Age",
    ]  # fmt: skip
    known = {
        "type", "nullable", "description", "properties", "required", "items", "default", "enum",
        "pattern", "format", "minimum", "maximum", "minLength", "maxLength", "maxItems",
        "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
    }  # fmt: skip

    def walk(schema: dict[str, Any], at: str) -> None:
        assert "type" in schema, at
        assert schema.keys() <= known, at
        for name, sub in schema.get("properties", {}).items():
            walk(sub, f"{at}.{name}")
        if "items" in schema:
            walk(schema["items"], f"{at}[]")

    walk(SCHEMA, "")


def test_no_default_is_an_empty_string() -> None:
    """API server 1.20 reads `default: ""` as null and refuses the whole CRD (seen in the lab)."""

    def walk(schema: dict[str, Any]) -> None:
        assert schema.get("default") != ""
        for sub in schema.get("properties", {}).values():
            walk(sub)

    walk(SCHEMA)


def test_every_field_of_the_spec_is_explained() -> None:
    """`kubectl explain` has a sentence for every field a person may write."""

    def walk(schema: dict[str, Any], at: str) -> None:
        for name, sub in schema.get("properties", {}).items():
            assert sub.get("description"), f"{at}.{name}"
            walk(sub, f"{at}.{name}")

    walk(SCHEMA["properties"]["spec"], "spec")
