"""Ordinary clusters are not stopped: widely used manifests have no blocker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import yaml

from tests.audit import loading
from unshim.audit import Finding, Severity, audit, manifests
from unshim.audit.workloads import template_of

DOCUMENTS = [
    (f"{path.name}:{number}", document)
    for path in sorted((loading.HERE / "popular").glob("*.yaml"))
    for number, document in enumerate(yaml.safe_load_all(path.read_text()), 1)
]


def blockers(findings: tuple[Finding, ...]) -> list[str]:
    return [f"{f.subject}: {f.message}" for f in findings if f.severity is Severity.BLOCKER]


def test_popular_manifests_have_no_blocker() -> None:
    """At least 100 ordinary documents, audited as files: not one blocker."""
    assert len(DOCUMENTS) >= 100
    assert not blockers(audit(manifests.snapshot(DOCUMENTS, now=loading.NOW)))


def pods() -> Iterator[dict[str, Any]]:
    """Every workload of the documents as a pod that runs on the ordinary node."""
    for _, document in DOCUMENTS:
        template = template_of(document) if document["kind"] != "Pod" else None
        if template is not None:
            meta = {"labels": {}, **document["metadata"], **(template.get("metadata") or {})}
            meta |= {key: document["metadata"].get(key, "") for key in ("name", "namespace")}
            kind = {"Deployment": "ReplicaSet", "CronJob": "Job"}.get(
                document["kind"], document["kind"]
            )
            owner = {"kind": kind, "name": meta["name"], "controller": True, "uid": "u"}
            yield {
                "metadata": {**meta, "uid": meta["name"], "ownerReferences": [owner]},
                "spec": {**template["spec"], "nodeName": loading.NODE},
                "status": {"phase": "Running"},
            }


def test_popular_pods_do_not_stop_a_run() -> None:
    """The same workloads, running on an ordinary kubeadm node, do not refuse its migration."""
    running = list(pods())
    assert len(running) >= 100
    raw = {"options": {}, "targets": [loading.NODE], "whole_cluster": False, "pods": running}
    assert not blockers(audit(loading.snapshot(raw)))


def test_popular_webhooks_do_not_stop_a_run() -> None:
    """Each webhook answered by the one pod of a default installation, on the node that moves."""
    files = manifests.snapshot(DOCUMENTS, now=loading.NOW)
    whole = replace(
        loading.snapshot({"pods": list(pods()), "budgets": list(files.budgets)}),
        webhooks=files.webhooks,
        services=files.services,
    )
    assert len(files.webhooks) >= 10
    findings = audit(whole)
    assert not blockers(findings)
    told = {f.subject.name for f in findings if f.rule == "admission-webhook"}
    assert {"istio-sidecar-injector", "aws-load-balancer-webhook"} <= told
    assert "cert-manager-webhook" not in told


def test_an_ordinary_node_has_no_blocker_nor_warning() -> None:
    """kubeadm 1.20 on Debian with an insecure registry, a mirror and log options is simply fine."""
    findings = audit(loading.snapshot({"options": {}, "targets": [loading.NODE]}))
    assert {finding.severity for finding in findings} <= {Severity.INFO}
