"""Runs every rule over a snapshot and settles what is suppressed. Pure; called by every face."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from unshim.audit import ignores
from unshim.audit.finding import Finding, Subject
from unshim.audit.ignores import ANNOTATION_PREFIX, Ignore
from unshim.audit.rule import Rule
from unshim.audit.rules import RULES
from unshim.audit.snapshot import Snapshot
from unshim.audit.survey import Survey, survey
from unshim.core.objects import Manifest

_BY_ID = {rule.id: rule for rule in RULES}


def audit(snapshot: Snapshot, ignore: Iterable[str | Ignore] = ()) -> tuple[Finding, ...]:
    """Every finding, the gravest first, each thing said once, in a stable order.

    `ignore` holds texts as `ignores.parse` reads them. Raises InvalidSpec when one of them names no
    rule. Firm rules cannot be suppressed.
    """
    accepted = [i if isinstance(i, Ignore) else ignores.parse(i, _BY_ID) for i in ignore]
    prepared = survey(snapshot)
    annotations = _annotations(prepared)
    settled = {
        _identity(finding): _settle(finding, accepted, annotations)
        for finding in reversed(tuple(_findings(prepared)))
    }
    return tuple(sorted(settled.values(), key=_order))


def _findings(prepared: Survey) -> Iterator[Finding]:
    for rule in RULES:
        yield from _joined(rule, prepared)


def _joined(rule: Rule, prepared: Survey) -> Iterator[Finding]:
    """A template and its pods say the same: one finding, as grave as the graver of both."""
    found: dict[tuple[str, ...], Finding] = {}
    for finding in rule.findings(prepared):
        key = _identity(finding)
        earlier = found.get(key)
        if earlier is not None:
            nodes = tuple(sorted({*earlier.nodes, *finding.nodes}))
            longer = max(earlier.chain, finding.chain, key=len)
            graver = min(earlier.severity, finding.severity, key=lambda s: s.rank)
            finding = replace(finding, nodes=nodes, chain=longer, severity=graver)
        found[key] = finding
    yield from found.values()


def _identity(finding: Finding) -> tuple[str, ...]:
    return finding.rule, str(finding.subject), finding.message


def _order(finding: Finding) -> tuple[int, str, Subject, str]:
    return finding.severity.rank, finding.rule, finding.subject, finding.message


def _annotations(prepared: Survey) -> Mapping[Subject, Mapping[str, str]]:
    """Annotations of every subject that may carry a suppression."""
    found = {Subject(kind="Node", name=node.name): node.annotations for node in prepared.nodes}
    snapshot = prepared.snapshot
    for kind, objects in (
        ("PersistentVolume", snapshot.volumes),
        ("ConfigMap", snapshot.config_maps),
        ("PodDisruptionBudget", snapshot.budgets),
        ("PodSecurityPolicy", snapshot.security_policies),
    ):
        found |= _of(kind, objects)
    for hooks in snapshot.webhooks:
        found |= _of(str(hooks.get("kind", "")), (hooks,))
    return found | {workload.subject: workload.annotations for workload in prepared.workloads}


def _of(kind: str, objects: Sequence[Manifest]) -> Mapping[Subject, Mapping[str, str]]:
    return {
        Subject(
            kind=kind,
            namespace=manifest["metadata"].get("namespace", ""),
            name=manifest["metadata"]["name"],
        ): manifest["metadata"].get("annotations") or {}
        for manifest in objects
    }


def _settle(
    finding: Finding,
    accepted: Sequence[Ignore],
    annotations: Mapping[Subject, Mapping[str, str]],
) -> Finding:
    if _BY_ID[finding.rule].firm:
        return finding
    own = annotations.get(finding.subject, {}).get(f"{ANNOTATION_PREFIX}{finding.rule}")
    if own is not None:
        return replace(finding, suppressed_by=own.strip() or ignores.NO_REASON)
    cover = next((ignore for ignore in accepted if ignore.covers(finding)), None)
    return finding if cover is None else replace(finding, suppressed_by=cover.reason)
