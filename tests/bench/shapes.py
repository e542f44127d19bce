"""One object of each shape that a synthetic fleet consists of, about as large as in real clusters.

Names, uids and addresses are tokens of a fixed width. The API server writes a shape as protobuf
once; copies of it are made by replacing tokens in these bytes, which keeps every length right.
"""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

NODE, WORKLOAD, SPACE, POD = "node-NNNNN", "work-WWWWW", "team-SSS", "PPPPP"
UID, OWNER = "uuuuuuuu-0000-4000-8000-000000000000", "oooooooo-0000-4000-8000-000000000000"
CREATED = "2024-05-01T08:00:00Z"
HASH = "7d9f8c6b54"
SOCKET = {"name": "docker", "hostPath": {"path": "/var/run/docker.sock", "type": "Socket"}}
LOGS = {"name": "logs", "hostPath": {"path": "/var/lib/docker/containers", "type": ""}}
SCRATCH: Object = {"name": "scratch", "emptyDir": {}}
DOCKER_HOST = {"name": "DOCKER_HOST", "value": "unix:///var/run/docker.sock"}
PARSER = "[INPUT]\n    Name tail\n    Path /var/log/containers/*.log\n    Parser docker\n"


def meta(name: str, *, space: str = SPACE, owner: str = "", **more: Any) -> Object:
    """Metadata as a controller leaves it, with managed fields."""
    spaced = {"namespace": space} if space else {}
    owners = [_owner(owner)] if owner else []
    return {
        "name": name,
        **spaced,
        "uid": UID,
        "creationTimestamp": CREATED,
        **({"ownerReferences": owners} if owners else {}),
        "managedFields": [_managed("kube-controller-manager", "spec"), _managed("kubelet", "st")],
        **more,
    }


def _owner(kind_and_name: str) -> Object:
    kind, _, name = kind_and_name.partition("/")
    group = "batch/v1" if kind == "Job" else "apps/v1"
    flags = {"controller": True, "blockOwnerDeletion": True}
    return {"apiVersion": group, "kind": kind, "name": name, "uid": OWNER, **flags}


def _managed(manager: str, part: str) -> Object:
    names = ("image", "name", "ports", "resources", "env", "volumeMounts", "securityContext")
    inner: Object = {f"f:{part}-{name}": {".": {}, "f:value": {}} for name in names}
    return {
        "manager": manager,
        "operation": "Update",
        "apiVersion": "v1",
        "time": CREATED,
        "fieldsType": "FieldsV1",
        "fieldsV1": {f"f:{part}": {'k:{"name":"main"}': inner}},
    }


def template(*volumes: Object, env: tuple[Object, ...] = (), restart: str = "Always") -> Object:
    """A pod's spec."""
    token = {"name": "default-token-x7k2p", "secret": {"secretName": "default-token-x7k2p"}}
    mounts = [{"name": v["name"], "mountPath": f"/mnt/{v['name']}"} for v in (*volumes, token)]
    return {
        "restartPolicy": restart,
        "serviceAccountName": "default",
        "serviceAccount": "default",
        "dnsPolicy": "ClusterFirst",
        "terminationGracePeriodSeconds": 30,
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "containers": [_container("main", mounts, env)],
        "volumes": [*volumes, token],
    }


def _container(name: str, mounts: list[Object], env: tuple[Object, ...]) -> Object:
    usual = [{"name": f"SETTING_{i}", "value": f"value-{i}.{WORKLOAD}.{SPACE}"} for i in range(4)]
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10}
    return {
        "name": name,
        "image": f"registry.example.com/{SPACE}/{WORKLOAD}/{name}:1.42.0",
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": [*usual, *env],
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"cpu": "1", "memory": "512Mi"},
        },
        "livenessProbe": probe,
        "readinessProbe": probe,
        "volumeMounts": mounts,
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }


def pod(spec: Object, *, name: str, owner: str = "", phase: str = "Running") -> Object:
    """A pod on NODE with the status that a kubelet writes."""
    labels = {"app": WORKLOAD, "team": SPACE, "pod-template-hash": HASH}
    seconds = [
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute",
         "tolerationSeconds": 300}
        for key in ("not-ready", "unreachable")
    ]  # fmt: skip
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta(name, owner=owner, labels=labels),
        "spec": {**spec, "nodeName": NODE, "priority": 0, "tolerations": seconds},
        "status": _pod_status(spec, phase),
    }


def _pod_status(spec: Object, phase: str) -> Object:
    running = phase == "Running"
    state: Object = {"running": {"startedAt": CREATED}}
    if not running:
        state = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": CREATED}}
    kinds = ("Initialized", "Ready", "ContainersReady", "PodScheduled")
    return {
        "phase": phase,
        "hostIP": "10.0.0.1",
        "podIP": "10.244.0.1",
        "podIPs": [{"ip": "10.244.0.1"}],
        "qosClass": "Burstable",
        "startTime": CREATED,
        "conditions": [
            {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": CREATED}
            for kind in kinds
        ],
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "docker-pullable://" + container["image"] + "@sha256:" + "0" * 64,
                "containerID": "docker://" + UID.replace("-", "") * 2,
                "ready": running,
                "started": running,
                "restartCount": 0,
                "lastState": {},
                "state": state,
            }
            for container in spec["containers"]
        ],
    }


def controller(kind: str, spec: Object, *, name: str = WORKLOAD, **more: Any) -> Object:
    """A Deployment, ReplicaSet, StatefulSet, DaemonSet or Job over WORKLOAD's pods."""
    labels = {"app": WORKLOAD, "team": SPACE}
    inner = {"metadata": {"labels": labels}, "spec": spec}
    owner = f"Deployment/{WORKLOAD}" if kind == "ReplicaSet" else ""
    selector = {} if kind == "Job" else {"selector": {"matchLabels": labels}}
    return {
        "apiVersion": "batch/v1" if kind == "Job" else "apps/v1",
        "kind": kind,
        "metadata": meta(name, owner=owner, labels=labels),
        "spec": {**selector, "template": inner, **more},
        "status": {},
    }


def node() -> Object:
    labels = {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
              "kubernetes.io/hostname": NODE, "topology.kubernetes.io/zone": "zone-a"}  # fmt: skip
    usual = ("MemoryPressure", "DiskPressure", "PIDPressure")
    fine = {"lastHeartbeatTime": CREATED, "lastTransitionTime": CREATED, "message": "kubelet is ok"}
    size = {"cpu": "32", "memory": "128Gi", "pods": "110", "ephemeral-storage": "500Gi"}
    image = "registry.example.com/team/image"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": meta(
            NODE,
            space="",
            labels=labels,
            annotations={"kubeadm.alpha.kubernetes.io/cri-socket": "/var/run/dockershim.sock"},
        ),
        "spec": {"podCIDR": "10.244.0.0/24", "podCIDRs": ["10.244.0.0/24"]},
        "status": {
            "capacity": size,
            "allocatable": size,
            "conditions": [
                *({"type": t, "status": "False", "reason": "Fine", **fine} for t in usual),
                {"type": "Ready", "status": "True", "reason": "KubeletReady", **fine},
            ],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            "nodeInfo": {
                "machineID": UID.replace("-", ""),
                "systemUUID": UID,
                "bootID": UID,
                "kernelVersion": "5.10.0-28-amd64",
                "osImage": "Debian GNU/Linux 11 (bullseye)",
                "containerRuntimeVersion": "docker://20.10.24",
                "kubeletVersion": "v1.20.2",
                "kubeProxyVersion": "v1.20.2",
                "operatingSystem": "linux",
                "architecture": "amd64",
            },
            "images": [
                {"names": [f"{image}-{i}@sha256:{'0' * 64}", f"{image}-{i}:1"], "sizeBytes": 10**8}
                for i in range(50)
            ],
        },
    }


def config_map(text: str) -> Object:
    data = {"settings.conf": "key = value\n" * 100, "input.conf": text}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta(WORKLOAD), "data": data}


def budget(allowed: int) -> Object:
    selector = {"matchLabels": {"app": WORKLOAD, "team": SPACE}}
    counts = {"disruptionsAllowed": allowed, "currentHealthy": 2 + allowed, "desiredHealthy": 2}
    return {
        "apiVersion": "policy/v1beta1",
        "kind": "PodDisruptionBudget",
        "metadata": meta(WORKLOAD),
        "spec": {"maxUnavailable": 1, "selector": selector},
        "status": {**counts, "expectedPods": 3, "observedGeneration": 1},
    }


def cron_job() -> Object:
    template_ = {"spec": {"template": {"spec": template(restart="Never")}}}
    return {
        "apiVersion": "batch/v1beta1",
        "kind": "CronJob",
        "metadata": meta(WORKLOAD),
        "spec": {"schedule": "0 3 * * *", "concurrencyPolicy": "Forbid", "jobTemplate": template_},
        "status": {},
    }
