"""kubeadm on booted nodes: init, join, images, registry, workloads."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.lab import archives, network
from tests.lab.nodes import Node
from tests.lab.places import HERE
from tests.lab.shells import run, say, wait

TOKEN = "abcdef.0123456789abcdef"  # noqa: S105  a bootstrap token that lives inside the lab only

AUDIT_POLICY = """apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    resources: [{group: coordination.k8s.io, resources: [leases]}]
  - level: Metadata
"""

INIT = """apiVersion: kubeadm.k8s.io/v1beta2
kind: InitConfiguration
bootstrapTokens: [{{token: {token}, ttl: "0s"}}]
localAPIEndpoint: {{advertiseAddress: {api}}}
nodeRegistration: {{name: cp-1, criSocket: /var/run/dockershim.sock}}
---
apiVersion: kubeadm.k8s.io/v1beta2
kind: ClusterConfiguration
kubernetesVersion: {version}
networking: {{serviceSubnet: 10.96.0.0/16}}
etcd: {{local: {{dataDir: /var/lib/etcd, extraArgs: {{unsafe-no-fsync: "true"}}}}}}
apiServer:
  extraArgs:
    audit-policy-file: /etc/kubernetes/audit/policy.yaml
    audit-log-path: /etc/kubernetes/audit/log
    profiling: "false"
  extraVolumes:
    - {{name: audit, hostPath: /etc/kubernetes/audit, mountPath: /etc/kubernetes/audit}}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
oomScoreAdj: 0
failSwapOn: false
"""

JOIN = """apiVersion: kubeadm.k8s.io/v1beta2
kind: JoinConfiguration
discovery:
  bootstrapToken: {{token: {token}, apiServerEndpoint: "{api}:6443",
                    unsafeSkipCAVerification: true}}
nodeRegistration: {{name: {name}, criSocket: /var/run/dockershim.sock}}
"""

CNI = """{{"cniVersion": "0.4.0", "name": "lab", "plugins": [
  {{"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
   "ipam": {{"type": "host-local", "ranges": [[{{"subnet": "{pods}.0/24"}}]],
            "routes": [{{"dst": "0.0.0.0/0"}}]}}}},
  {{"type": "portmap", "capabilities": {{"portMappings": true}}}}]}}
"""

DAEMON_JSON = """{
  "insecure-registries": ["registry.lab:5000"],
  "log-driver": "json-file",
  "log-opts": {"max-size": "10m", "max-file": "3"}
}
"""


def furnish(node: Node, names: list[str], keys: Path) -> None:
    """Write a new node's own files into its upper layer, before its first boot."""
    upper = node.directory / "upper"
    hosts = [f"{network.HOST} registry.lab", *(f"{network.address(n).ip} {n}" for n in names)]
    files = {
        "etc/hostname": f"{node.name}\n",
        "etc/hosts": "127.0.0.1 localhost\n" + "\n".join(hosts) + "\n",
        "etc/resolv.conf": "nameserver 127.0.0.1\n",
        "etc/docker/daemon.json": DAEMON_JSON,
        "etc/cni/net.d/10-lab.conflist": CNI.format(pods=node.at.pods),
        "etc/default/kubelet": f"KUBELET_EXTRA_ARGS=--node-ip={node.ip}\n",
        "etc/kubernetes/audit/policy.yaml": AUDIT_POLICY,
        "root/.ssh/authorized_keys": (keys / "key.pub").read_text(),
        "home/admin/.ssh/authorized_keys": (keys / "key.pub").read_text(),
        "etc/ssh/ssh_host_ed25519_key": (keys / node.name).read_text(),
        "etc/ssh/ssh_host_ed25519_key.pub": (keys / f"{node.name}.pub").read_text(),
        "etc/ssh/sshd_config.d/lab.conf": "PermitRootLogin prohibit-password\nUseDNS no\n",
        "etc/machine-id": f"{abs(hash(node.name)):032x}"[-32:] + "\n",
    }
    for name, text in files.items():
        target = upper / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    for private in ("etc/ssh/ssh_host_ed25519_key", "root/.ssh/authorized_keys"):
        (upper / private).chmod(0o600)
    (upper / "root").chmod(0o700)
    (upper / "root/.ssh").chmod(0o700)
    for path in (upper / "home/admin", upper / "home/admin/.ssh"):
        shutil.chown(path, 1000, 1000)


def ssh_keys(folder: Path, names: list[str]) -> None:
    """Client key, host keys, known_hosts and a configuration a person can use."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("key", *names):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)])
    known = [
        f"{name},{network.address(name).ip} {(folder / f'{name}.pub').read_text()}"
        for name in names
    ]
    (folder / "known_hosts").write_text("".join(known))


def ssh_config(folder: Path, names: list[str]) -> None:
    common = (
        f"Host *\n  IdentityFile {folder / 'key'}\n  UserKnownHostsFile {folder / 'known_hosts'}\n"
        "  StrictHostKeyChecking yes\n  IdentitiesOnly yes\n  BatchMode yes\n  LogLevel ERROR\n"
    )
    hosts = "".join(f"Host {n}\n  HostName {network.address(n).ip}\n" for n in names)
    (folder / "config").write_text(hosts + common)


def registry(lab: str, directory: Path) -> int:
    """Start the registry in the lab's namespace; returns its pid."""
    data = directory / "registry"
    data.mkdir(parents=True, exist_ok=True)
    config = directory / "registry.yml"
    config.write_text(
        "version: 0.1\nlog: {level: warn}\n"
        f"storage: {{filesystem: {{rootdirectory: {data}}}}}\n"
        f"http: {{addr: '{network.HOST}:5000'}}\n"
    )
    with (directory / "registry.log").open("ab") as log:
        process = subprocess.Popen(
            ["ip", "netns", "exec", network.namespace(lab), "docker-registry", "serve",
             str(config)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    return process.pid


def install(nodes: list[Node], version: str) -> None:
    """From booted machines to a cluster with its workloads."""
    say("loading images")
    for node in nodes:
        node.exec("systemctl start docker")
        names = ["pause", "agent", "local"] if node.name.startswith("worker") else [
            "pause", "agent", "etcd", "kube-apiserver", "kube-controller-manager",
            "kube-scheduler",
        ]  # fmt: skip
        for name in names:
            node.exec(f"docker load -qi /opt/images/{name}.tar")
    first = next(node for node in nodes if node.name.startswith("worker"))
    for name, tag in (("web", archives.APP), ("canary", archives.CANARY)):
        first.exec(f"docker load -qi /opt/images/{name}.tar && docker push -q {tag} && "
                   f"docker rmi {tag}")  # fmt: skip
    control = next(node for node in nodes if node.name == "cp-1")
    say("kubeadm init")
    init = "kubeadm init --config /root/init.yaml --skip-phases=addon,preflight"
    control.exec(
        f"systemctl enable kubelet; cat >/root/init.yaml && {init}",
        input=INIT.format(token=TOKEN, api=control.ip, version=version),
        timeout=300,
    )
    say("kubeadm join")
    for node in nodes:
        if node is control:
            continue
        text = JOIN.format(token=TOKEN, api=control.ip, name=node.name)
        node.exec("systemctl enable kubelet; cat >/root/join.yaml && "
                  "kubeadm join --config /root/join.yaml --skip-phases=preflight",
                  input=text, timeout=300)  # fmt: skip


def kubeconfig(control: Node, target: Path) -> None:
    target.write_text(control.exec("cat /etc/kubernetes/admin.conf").stdout)
    target.chmod(0o600)


def manifest() -> Path:
    return HERE / "manifests" / "apps.yaml"


__all__ = ["furnish", "install", "kubeconfig", "manifest", "registry", "ssh_config", "ssh_keys",
           "wait"]  # fmt: skip
