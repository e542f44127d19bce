"""Security profiles that Docker brings, and policies that name them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from unshim.audit import links
from unshim.audit.finding import Severity, Subject
from unshim.audit.rule import Hit, Survey, survey_rule, workload_rule
from unshim.audit.workloads import Workload

BLOCKER, WARNING, INFO = Severity.BLOCKER, Severity.WARNING, Severity.INFO

_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP = ("seccomp.security.alpha.kubernetes.io/pod", "container.seccomp.security.alpha.")


@workload_rule(
    "apparmor-docker-default",
    BLOCKER,
    title="A pod asks for Docker's AppArmor profile by name",
    why="dockerd loads the profile docker-default when it starts. Without Docker it is gone after "
    "the next reboot, and the pod does not start.",
    fix="Use runtime/default, which every runtime provides.",
    link=f"{links.K8S}tutorials/security/apparmor/",
)
def apparmor_docker_default(workload: Workload, _: Survey) -> Iterator[Hit]:
    annotations = workload.metadata.get("annotations") or {}
    for key, value in sorted(annotations.items()):
        if key.startswith(_APPARMOR) and value == "localhost/docker-default":
            yield Hit(message=f"container {key.removeprefix(_APPARMOR)}: {value}")
    for name, context in _contexts(workload):
        profile = context.get("appArmorProfile") or {}
        if profile.get("localhostProfile") == "docker-default":
            yield Hit(message=f"{name}: appArmorProfile docker-default")


def _contexts(workload: Workload) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "pod", workload.spec.get("securityContext") or {}
    for container in workload.containers:
        yield f"container {container.get('name')}", container.get("securityContext") or {}


@workload_rule(
    "seccomp-docker-default",
    INFO,
    title="A pod asks for Docker's seccomp profile by its old name",
    why="containerd treats docker/default as runtime/default, whose list of allowed system calls "
    "differs a little. Kubernetes 1.27 and later ignore the annotation.",
    fix="Set securityContext.seccompProfile.type to RuntimeDefault.",
    link=f"{links.K8S}tutorials/security/seccomp/",
)
def seccomp_docker_default(workload: Workload, _: Survey) -> Iterator[Hit]:
    annotations = workload.metadata.get("annotations") or {}
    for key, value in sorted(annotations.items()):
        if key.startswith(_SECCOMP) and value == "docker/default":
            yield Hit(message=f"{key}: {value}")


@survey_rule(
    "policy-names-docker",
    INFO,
    title="A PodSecurityPolicy names Docker",
    why="Profiles called docker/default go on working. A host path under Docker's folders allows "
    "what no longer has a use.",
    fix="Use runtime/default, and remove host paths that are no longer needed.",
    link=f"{links.K8S}concepts/security/pod-security-policy/",
)
def policy_names_docker(survey: Survey) -> Iterator[Hit]:
    for policy in survey.snapshot.security_policies:
        meta = policy["metadata"]
        subject = Subject(kind="PodSecurityPolicy", name=str(meta["name"]))
        for key, value in sorted((meta.get("annotations") or {}).items()):
            if "seccomp" in key and "docker/default" in value:
                yield Hit(message=f"{key}: {value}", subject=subject)
        for allowed in (policy.get("spec") or {}).get("allowedHostPaths") or ():
            if "docker" in str(allowed.get("pathPrefix", "")):
                yield Hit(message=f"allows host path {allowed['pathPrefix']}", subject=subject)
