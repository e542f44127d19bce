"""Known agents and tools that look at containers, and what they need on containerd.

Sources: the Kubernetes page on migrating telemetry and security agents (Datadog, Dynatrace, Falco,
Prisma Cloud, SignalFx, Flame), aws/amazon-vpc-cni-k8s#1411 and its 1.12 notes, and each project's
own documentation. `since` is the first version that works without Docker; empty: any, once set up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """`images` is matched against the end of a repository path, whole path parts only.

    `docker_only` agents have no use without Docker. `advice` says what to set.
    """

    name: str
    images: str
    advice: str
    since: str = ""
    docker_only: bool = False

    def runs(self, repository: str) -> bool:
        return re.search(rf"(?:^|/)(?:{self.images})$", repository) is not None


AGENTS: tuple[Agent, ...] = (
    Agent(
        name="AWS VPC CNI",
        images="amazon-k8s-cni",
        since="1.12.0",
        advice="before 1.12 it needs dockershim.sock and crash-loops without",
    ),
    Agent(
        name="Datadog",
        images="datadog(?:hq)?/agent|datadog-agent|docker-dd-agent",
        advice="mount containerd's socket and set DD_CRI_SOCKET_PATH (chart: criSocketPath)",
    ),
    Agent(
        name="Dynatrace OneAgent",
        images="dynatrace/oneagent|dynatrace-oneagent",
        advice="move dashboards to the generic container metrics",
    ),
    Agent(
        name="Falco",
        images="falcosecurity/falco(?:-no-driver|-driver-loader)?",
        since="0.15.0",
        advice="mount containerd's socket and pass --cri",
    ),
    Agent(
        name="Prisma Cloud (Twistlock)",
        images="twistlock/(?:private/)?defender|prisma-cloud/defender",
        advice="deploy its Defenders again with --cri",
    ),
    Agent(
        name="SignalFx",
        images="signalfx-agent",
        advice="replace docker-container-stats by kubelet-metrics; names of metrics change",
    ),
    Agent(
        name="Kubectl Flame",
        images="kubectl-flame(?:-agent)?",
        docker_only=True,
        advice="it profiles Docker containers only",
    ),
    Agent(
        name="Sysdig",
        images="sysdig/agent(?:-slim)?",
        advice="mount containerd's socket in the agent",
    ),
    Agent(
        name="cAdvisor",
        images="cadvisor(?:-amd64)?",
        advice="mount containerd's socket and pass --containerd; labels of metrics change",
    ),
    Agent(
        name="Weave Scope",
        images="weaveworks/scope|scope",
        docker_only=True,
        advice="its container view needs Docker",
    ),
    Agent(
        name="Logspout",
        images="gliderlabs/logspout|logspout",
        docker_only=True,
        advice="it reads logs from Docker's API; use a log agent that reads files",
    ),
    Agent(
        name="Watchtower",
        images="containrrr/watchtower|watchtower",
        docker_only=True,
        advice="it updates Docker containers; use a GitOps tool",
    ),
    Agent(
        name="Docker garbage collection",
        images="docker-gc|docker-cleanup|docker-custodian|dockerhousekeeper",
        docker_only=True,
        advice="the kubelet removes images by itself",
    ),
    Agent(
        name="Pumba",
        images="gaiaadm/pumba|pumba",
        docker_only=True,
        advice="it breaks Docker containers; use a chaos tool that speaks CRI",
    ),
    Agent(
        name="nginx-proxy",
        images="jwilder/nginx-proxy|nginxproxy/nginx-proxy|jwilder/docker-gen|docker-gen",
        docker_only=True,
        advice="it learns its back ends from Docker; use an ingress controller",
    ),
    Agent(
        name="Drone Docker runner",
        images="drone/drone-runner-docker",
        docker_only=True,
        advice="use drone-runner-kube",
    ),
    Agent(
        name="Portainer",
        images="portainer/(?:portainer(?:-ce|-ee)?|agent)",
        advice="use its Kubernetes mode",
    ),
    Agent(
        name="Filebeat",
        images="beats/filebeat(?:-oss)?",
        since="6.6.0",
        advice="use the container input or add_kubernetes_metadata, not the docker input",
    ),
    Agent(
        name="Metricbeat",
        images="beats/metricbeat(?:-oss)?",
        advice="its docker module finds nothing; the kubernetes module stays",
    ),
    Agent(
        name="Fluent Bit",
        images="fluent/fluent-bit|aws-for-fluent-bit|bitnami/fluent-bit",
        since="1.8.0",
        advice="use `multiline.parser docker, cri`, which reads both formats",
    ),
    Agent(
        name="Fluentd",
        images="fluent/fluentd-kubernetes-daemonset|fluentd-elasticsearch/fluentd|bitnami/fluentd",
        advice="parse with fluent-plugin-parser-cri or a multi-format parser",
    ),
    Agent(
        name="Splunk Connect",
        images="splunk/fluentd-hec",
        advice="set logFormatType: cri",
    ),
    Agent(
        name="Argo Workflows",
        images="argoproj/workflow-controller",
        since="3.3.0",
        advice="before 3.3 its default executor is docker: set containerRuntimeExecutor",
    ),
    Agent(
        name="Node Problem Detector",
        images="node-problem-detector",
        advice="replace docker-monitor.json and the docker health check by containerd's",
    ),
    Agent(
        name="Litmus chaos runner",
        images="litmuschaos/go-runner",
        advice="set CONTAINER_RUNTIME=containerd and SOCKET_PATH",
    ),
    Agent(
        name="Telegraf",
        images="(?:library/)?telegraf",
        advice="inputs.docker finds nothing; use inputs.kubernetes",
    ),
    Agent(
        name="NVIDIA device plugin",
        images="nvidia/k8s-device-plugin",
        advice="it needs nvidia as containerd's default runtime or a RuntimeClass",
    ),
    Agent(
        name="NVIDIA GPU Operator",
        images="nvidia/gpu-operator",
        advice="set operator.defaultRuntime: containerd where its version does not find out itself",
    ),
    Agent(
        name="CloudWatch agent",
        images="amazon/cloudwatch-agent|cloudwatch-agent/cloudwatch-agent",
        advice="mount containerd's socket; without it pods have no metrics",
    ),
    Agent(
        name="New Relic infrastructure agent",
        images="newrelic/(?:nri-kubernetes|infrastructure-k8s|infrastructure-bundle|infrastructure)",
        advice="what it samples from Docker stops; the Kubernetes integration stays",
    ),
    Agent(
        name="NeuVector",
        images="neuvector/(?:enforcer|controller|allinone)",
        advice="set containerd.enabled in its chart, which mounts containerd's socket",
    ),
    Agent(
        name="Qualys container sensor",
        images="qualys/(?:qcs-sensor|sensor)",
        advice="deploy its sensor for containerd; the one for Docker finds nothing",
    ),
    Agent(
        name="Sematext Docker agent",
        images="sematext/sematext-agent-docker|sematext-agent-docker",
        docker_only=True,
        advice="use sematext/agent",
    ),
    Agent(
        name="Docker Bench for Security",
        images="docker/docker-bench-security|docker-bench-security",
        docker_only=True,
        advice="it checks Docker's configuration; use kube-bench",
    ),
    Agent(
        name="Docker exporter",
        images="prometheusnet/docker_exporter|docker[-_]exporter",
        docker_only=True,
        advice="it exports Docker's metrics; take the kubelet's",
    ),
    Agent(
        name="Ouroboros",
        images="pyouroboros/ouroboros",
        docker_only=True,
        advice="it updates Docker containers; use a GitOps tool",
    ),
    Agent(
        name="Buildkite agent",
        images="buildkite/agent",
        advice="its Docker plugins need a daemon: give it one of its own (docker:dind)",
    ),
)

_ANY = re.compile(rf"(?:^|/)(?:{'|'.join(agent.images for agent in AGENTS)})$")


def of_image(repository: str) -> Agent | None:
    """The agent of an image. Nearly every image is none of them, so all are tried as one first."""
    if _ANY.search(repository) is None:
        return None
    return next((agent for agent in AGENTS if agent.runs(repository)), None)
