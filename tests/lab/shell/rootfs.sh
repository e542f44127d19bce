#!/bin/sh
# Make the nodes' root file system in $1: Debian with systemd, sshd, Docker, containerd.
set -eu
root=$1
packages=systemd,systemd-sysv,dbus,openssh-server,docker.io,containerd,runc,iptables,conntrack
packages=$packages,socat,ethtool,iproute2,containernetworking-plugins,sudo,procps,kmod,ca-certificates
debootstrap --variant=minbase --include="$packages" bookworm "$root"

# Lowering oom_score_adj needs CAP_SYS_RESOURCE, which a test machine may not have.
mv "$root/usr/sbin/runc" "$root/usr/sbin/runc.real"
cat >"$root/usr/sbin/runc" <<'WRAP'
#!/bin/sh
bundle=.
previous=
for argument in "$@"; do
    [ "$previous" != --bundle ] || bundle=$argument
    previous=$argument
done
[ ! -f "$bundle/config.json" ] || sed -i 's/"oomScoreAdj":-\{0,1\}[0-9]*,//; s/,"oomScoreAdj":-\{0,1\}[0-9]*//' "$bundle/config.json"
exec /usr/sbin/runc.real "$@"
WRAP
chmod 755 "$root/usr/sbin/runc"

cat >"$root/etc/systemd/system/lab-cgroups.service" <<'UNIT'
[Unit]
Description=Make the v1 cgroup controllers writable
DefaultDependencies=no
After=local-fs.target
Before=sysinit.target containerd.service docker.service kubelet.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'mount -o remount,rw /sys/fs/cgroup; for d in /sys/fs/cgroup/*/; do mount -o remount,rw,bind "$d" 2>/dev/null || :; done; mount --make-rshared /'
[Install]
WantedBy=sysinit.target
UNIT

mkdir -p "$root/etc/systemd/system/kubelet.service.d" "$root/opt/cni" "$root/opt/kube"
cat >"$root/etc/systemd/system/kubelet.service" <<'UNIT'
[Unit]
Description=kubelet: The Kubernetes Node Agent
Documentation=https://kubernetes.io/docs/home/
Wants=network-online.target
After=network-online.target
[Service]
ExecStart=/usr/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=2
[Install]
WantedBy=multi-user.target
UNIT
cat >"$root/etc/systemd/system/kubelet.service.d/10-kubeadm.conf" <<'UNIT'
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
UNIT
ln -s /usr/lib/cni "$root/opt/cni/bin"
for name in kubelet kubeadm kubectl; do ln -s "/opt/kube/$name" "$root/usr/bin/$name"; done

chroot "$root" systemctl enable lab-cgroups docker containerd ssh
chroot "$root" systemctl disable apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer dpkg-db-backup.timer e2scrub_reap.service 2>/dev/null || :
chroot "$root" systemctl mask systemd-resolved systemd-networkd systemd-udevd getty@tty1 console-getty systemd-logind 2>/dev/null || :
chroot "$root" useradd -m -s /bin/bash admin
echo 'admin ALL=(ALL) NOPASSWD:ALL' >"$root/etc/sudoers.d/admin"
chmod 440 "$root/etc/sudoers.d/admin"
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/machine-id" "$root"/var/cache/apt/archives/*.deb
rm -rf "$root"/var/lib/apt/lists/*
: >"$root/etc/machine-id"
