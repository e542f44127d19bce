#!/bin/sh
# Boot one node and boot it again whenever it reboots. Arguments: cgroup, netns, root, then binds.
set -eu
cgroup=$1 netns=$2 root=$3
shift 3

# Each node has its own cgroup in every v1 controller; otherwise each kubelet would see its
# neighbours' pods as orphans and kill them.
for controller in /sys/fs/cgroup/*/; do
    case $controller in */unified/) continue ;; esac
    mkdir -p "$controller$cgroup"
    case $controller in
    */cpuset/)
        echo 1 >"$controller$cgroup/cgroup.clone_children"
        cat "${controller}cpuset.cpus" >"$controller$cgroup/cpuset.cpus"
        cat "${controller}cpuset.mems" >"$controller$cgroup/cpuset.mems"
        ;;
    esac
    echo $$ >"$controller$cgroup/cgroup.procs"
done

export SYSTEMD_NSPAWN_API_VFS_WRITABLE=1 SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=0
export SYSTEMD_NSPAWN_USE_CGNS=1
while :; do
    code=0
    systemd-nspawn --quiet --boot --register=no --keep-unit --network-namespace-path="$netns" \
        --capability=all --system-call-filter=@known --bind=/dev/kmsg --resolv-conf=off \
        --timezone=off --link-journal=no --console=pipe --directory="$root" "$@" || code=$?
    [ "$code" = 133 ] || exit "$code" # 133: the node asked for a reboot
done
