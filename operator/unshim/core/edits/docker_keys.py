"""What each key of the Docker daemon's configuration means for a move to containerd.

Keys and their meaning: daemon/config of Moby 20.10, 24.0 and 27.0. A key in none of these tables is
unknown and blocks.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Storage driver -> snapshotter. aufs and devicemapper become overlayfs: images are handed over,
#: not converted. zfs needs a dataset of its own and is left out, so that a person decides.
SNAPSHOTTERS: Mapping[str, str] = {
    "overlay2": "overlayfs",
    "overlay": "overlayfs",
    "overlayfs": "overlayfs",  # the name under Docker's containerd image store
    "aufs": "overlayfs",
    "devicemapper": "overlayfs",
    "btrfs": "btrfs",
    "vfs": "native",
}

#: Name in default-ulimits -> systemd directive.
LIMITS: Mapping[str, str] = {
    "core": "LimitCORE",
    "cpu": "LimitCPU",
    "data": "LimitDATA",
    "fsize": "LimitFSIZE",
    "locks": "LimitLOCKS",
    "memlock": "LimitMEMLOCK",
    "msgqueue": "LimitMSGQUEUE",
    "nice": "LimitNICE",
    "nofile": "LimitNOFILE",
    "nproc": "LimitNPROC",
    "rss": "LimitRSS",
    "rtprio": "LimitRTPRIO",
    "rttime": "LimitRTTIME",
    "sigpending": "LimitSIGPENDING",
    "stack": "LimitSTACK",
}

TRANSLATED: Mapping[str, str] = {
    "exec-opts": "containerd follows the kubelet's cgroup driver",
    "registry-mirrors": "/etc/containerd/certs.d/docker.io/hosts.toml",
    "insecure-registries": "/etc/containerd/certs.d/<host>/hosts.toml",
    "log-driver": "containerd writes files, which the kubelet rotates",
    "log-opts": "the kubelet's --container-log-max-size and --container-log-max-files",
    "max-concurrent-downloads": "containerd's max_concurrent_downloads",
    "storage-driver": "containerd's snapshotter",
    "runtimes": "containerd's runtimes; arguments of a runtime (runtimeArgs) are lost",
    "default-runtime": "containerd's default_runtime_name",
    "default-ulimits": "Limit settings of containerd.service, which containers inherit",
    "proxies": "a drop-in of containerd.service",
    "http-proxy": "a drop-in of containerd.service",
    "https-proxy": "a drop-in of containerd.service",
    "no-proxy": "a drop-in of containerd.service",
    "selinux-enabled": "containerd's enable_selinux",
}

BLOCKERS: Mapping[str, str] = {
    "userns-remap": "containerd's CRI has no daemon-wide user namespace mapping; volumes would "
    "change their owners",
    "authorization-plugins": "the policy these plugins enforce would vanish",
    "add-registry": "short image names are searched in these registries; containerd knows "
    "docker.io only",
    "block-registry": "pulls from these registries are forbidden today and would be allowed",
    "rootless": "a rootless daemon cannot be replaced in place",
}

#: Docker's own networks only: pods use CNI.
_NETWORK = """
    allow-direct-routing bip bip6 bridge bridge-accept-fwmark default-address-pools default-gateway
    default-gateway-v6 default-network-opts dns dns-opts dns-search firewall-backend fixed-cidr
    fixed-cidr-v6 host-gateway-ip host-gateway-ips icc ip ip-masq ip6tables iptables ipv6 mtu
    network-control-plane-mtu resolv-conf userland-proxy userland-proxy-path
"""
#: The daemon alone, or what the kubelet sets for each container anyway.
_DAEMON = """
    api-enable-cors builder cgroup-parent cluster-advertise cluster-store cluster-store-opts
    config-file containerd containerd-namespace containerd-plugin-namespace
    containerd-plugins-namespace cri-containerd debug default-cgroupns-mode default-ipc-mode
    default-shm-size deprecated-key-path disable-legacy-registry exec-root experimental group
    log-format log-level max-concurrent-uploads min-api-version network-diagnostic-port pidfile
    raw-logs shutdown-timeout swarm-default-advertise-addr swarm-raft-election-tick
    swarm-raft-heartbeat-tick swarm-raft-tick trust-key validate
"""

#: Key -> what a person should know of the loss; empty where nothing is lost.
DROPPED: Mapping[str, str] = {
    **dict.fromkeys((_NETWORK + _DAEMON).split(), ""),
    "ip-forward": "dockerd turns IP forwarding on; the node's settings are kept in "
    "/etc/sysctl.d/99-unshim.conf instead",
    "live-restore": "containerd's containers survive its restarts in any case",
    "data-root": "images will live under containerd's root; see that its disk has room",
    "graph": "images will live under containerd's root; see that its disk has room",
    "storage-opts": "options of Docker's storage driver, such as a size limit per container, are "
    "lost",
    "init": "every container got an init process that reaps zombies; pods get none",
    "init-path": "every container got an init process that reaps zombies; pods get none",
    "default-init": "every container got an init process that reaps zombies; pods get none",
    "no-new-privileges": "the daemon-wide default is lost: set allowPrivilegeEscalation: false in "
    "pods that rely on it",
    "seccomp-profile": "pods with runtime/default get containerd's profile, not this file",
    "oom-score-adjust": "concerned dockerd alone; containerd.service has its own",
    "cpu-rt-period": "real-time scheduling of containers by the daemon is lost",
    "cpu-rt-runtime": "real-time scheduling of containers by the daemon is lost",
    "max-download-attempts": "containerd has no such setting; the kubelet retries pulls",
    "metrics-addr": "scrapers of this address lose Docker's metrics",
    "labels": "labels of the daemon are lost",
    "node-generic-resources": "concerned Swarm alone",
    "features": "options of Docker's builder and image store are lost",
    "cdi-spec-dirs": "containerd has its own CDI setting",
    "api-cors-header": "the Docker API disappears from the network",
    "allow-nondistributable-artifacts": "concerned pushes alone",
    **dict.fromkeys(
        ("tls", "tlsverify", "tlscacert", "tlscert", "tlskey"),
        "the Docker API disappears from the network: its remote clients stop working",
    ),
    "hosts": "clients of the Docker API at these addresses stop working",
}
