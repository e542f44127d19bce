#!/bin/sh
# The public procedure for one node, by hand, as a person would script it: the yardstick of the bench.
# Runs on the node after `kubectl drain`. No staging, no proof, no way back.
set -eu
systemctl stop kubelet
images=$(docker images --format '{{.Repository}}:{{.Tag}}')
for image in $images; do docker save "$image" | ctr -n k8s.io images import - >/dev/null; done
systemctl disable docker.service --now 2>/dev/null
systemctl stop docker.socket
mkdir -p /etc/containerd/certs.d/registry.lab:5000
printf 'server = "http://registry.lab:5000"\n[host."http://registry.lab:5000"]\n' \
    >/etc/containerd/certs.d/registry.lab:5000/hosts.toml
containerd config default |
    sed -e 's|sandbox_image = .*|sandbox_image = "k8s.gcr.io/pause:3.2"|' \
        -e 's|config_path = ""|config_path = "/etc/containerd/certs.d"|' >/etc/containerd/config.toml
systemctl restart containerd
sed -i 's|--network-plugin=cni|--container-runtime=remote --container-runtime-endpoint=unix:///run/containerd/containerd.sock|' \
    /var/lib/kubelet/kubeadm-flags.env
systemctl start kubelet
