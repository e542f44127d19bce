#!/bin/sh
# What this node is, in one read-only visit. Changes nothing, writes no file, starts no service: Docker
# is asked only while docker.service runs, because its socket would start it.
# Output: one line per section, KEY<TAB>BASE64. A section that cannot be read is an error:KEY line
# and spoils no other. The last line is `end`. Read by core/facts_parse.py.
# Input, as shell variables: UNSHIM_ONLY=runs for the runs alone; UNSHIM_PATHS, paths and globs of
# files to read; UNSHIM_PRESENT, paths to look for.
set -u
export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin"

LIMIT=4194304 # bytes of one section; the reader takes one more as the sign of a cut
TAB=$(printf '\t')
UNITS="kubelet docker docker.socket containerd cri-docker cri-docker.socket cri-dockerd k3s k3s-agent etcd
rke2-server rke2-agent snap.docker.dockerd.service snap.microk8s.daemon-kubelite.service unshim-recover
amazon-cloudwatch-agent collectd datadog-agent dragent elastic-agent filebeat fluent-bit metricbeat netdata
newrelic-infra node-problem-detector osqueryd td-agent telegraf zabbix-agent zabbix-agent2"

emit() { # KEY; the content is standard input
    printf '%s\t' "$1"
    head -c "$((LIMIT + 1))" | base64 -w0
    printf '\n'
}

fail() { printf '%s' "$2" | emit "error:$1"; } # KEY MESSAGE

ask() { # KEY COMMAND...: its output; when it fails, also why
    key=$1
    shift
    code=0
    answer=$(timeout 10 "$@" 2>/dev/null) || code=$?
    printf '%s' "$answer" | emit "$key"
    case $code in
    0) ;;
    124) fail "$key" "no answer within 10 s" ;;
    *) fail "$key" "exit code $code: $(timeout 10 "$@" 2>&1 >/dev/null | tail -c 500)" ;;
    esac
}

unit_value() { # UNIT PROPERTY
    printf '%s\n' "$units" | awk -v RS= -v FS='\n' -v unit="$1" -v property="$2=" '{
        mine = 0
        for (i = 1; i <= NF; i++)
            if (index($i, "Names=") == 1 && index(" " substr($i, 7) " ", " " unit " ")) mine = 1
        for (i = 1; mine && i <= NF; i++)
            if (index($i, property) == 1) { print substr($i, length(property) + 1); exit }
    }'
}

main_pid() { # UNIT: empty when it does not run
    pid=$(unit_value "$1" MainPID)
    [ "$(unit_value "$1" ActiveState)" != active ] || [ "${pid:-0}" = 0 ] || echo "$pid"
}

argument() { # PID FLAG: its last value, however it is written
    [ -n "$1" ] || return 0
    tr '\0' '\n' <"/proc/$1/cmdline" | awk -v flag="--$2" '{
        name = $0
        sub(/=.*/, "", name)
        gsub(/_/, "-", name)
        if (before == flag) value = $0
        if (name == flag && index($0, "=")) value = substr($0, index($0, "=") + 1)
        before = index($0, "=") ? "" : name
    } END { print value }'
}

runs() {
    for folder in /var/lib/unshim/*/; do
        uid=${folder%/}
        uid=${uid##*/}
        case $uid in *[!a-z0-9-]*) continue ;; esac
        [ ! -L "/var/lib/unshim/$uid" ] || continue
        for part in journal verdict meta.json; do
            [ ! -f "$folder$part" ] || emit "run:$uid:$part" <"$folder$part"
        done
        printf '' | emit "run:$uid:"
    done
}

machine() {
    uname -n | emit hostname
    uname -r | emit kernel
    uname -m | emit architecture
    id -u | emit uid
    emit os-release </etc/os-release 2>/dev/null || fail os-release "no /etc/os-release"
    emit boot-id </proc/sys/kernel/random/boot_id
    ask systemd-version systemctl --version
    for name in net/ipv4/ip_forward net/ipv6/conf/all/forwarding net/ipv4/ip_unprivileged_port_start \
        net/bridge/bridge-nf-call-iptables net/bridge/bridge-nf-call-ip6tables; do
        [ ! -r "/proc/sys/$name" ] || printf '%s\t%s\n' "$name" "$(cat "/proc/sys/$name")"
    done | emit sysctls
    for tool in apt-get dnf yum zypper ctr crictl docker runc containerd flock systemd-run sha256sum \
        base64 timeout tar iptables nvidia-container-runtime kubeadm; do
        ! command -v "$tool" >/dev/null || echo "$tool"
    done | emit tools
}

services() {
    # shellcheck disable=SC2086 # a list of words
    units=$(systemctl show -p Id -p Names -p LoadState -p ActiveState -p UnitFileState -p MainPID \
        -p FragmentPath -p DropInPaths -p EnvironmentFiles -p Requires -p Requisite -p BindsTo \
        -p Wants -p After -p PartOf -p RequiredBy -p RequisiteOf -p BoundBy -p WantedBy -p ConsistsOf \
        -p KillMode -p LimitNOFILE -p ExecStart $UNITS 2>/dev/null)
    printf '%s\n' "$units" | emit units
    [ -n "$units" ] || fail units "systemctl show says nothing; is systemd running here?"
    kubelet=$(main_pid kubelet.service) dockerd=$(main_pid docker.service)
    containerd=$(main_pid containerd.service)
    shim=$(main_pid cri-docker.service)
    [ -n "$shim" ] || shim=$(main_pid cri-dockerd.service)
}

kubelet_itself() {
    [ -z "$shim" ] || emit cri-dockerd-argv <"/proc/$shim/cmdline"
    if [ -n "$kubelet" ]; then
        emit kubelet-argv <"/proc/$kubelet/cmdline"
        tr '\0' '\n' <"/proc/$kubelet/environ" | sed -n 's/^HOME=//p' | emit kubelet-home
        # /proc/PID/exe is what runs, even when the file was replaced since.
        case $(readlink "/proc/$kubelet/exe") in
        *hyperkube*) ask kubelet-version "/proc/$kubelet/exe" kubelet --version ;;
        *) ask kubelet-version "/proc/$kubelet/exe" --version ;;
        esac
    elif command -v kubelet >/dev/null 2>&1; then
        ask kubelet-version kubelet --version
    fi
}

pods() { # where the kubelet's driver puts pods, and what limits their processes have
    grep -hs kubepods /proc/[0-9]*/cgroup | sed 's/^[0-9]*:[^:]*://' | sort -u | head -n 200 |
        emit pod-cgroups
    for path in $(grep -ls kubepods /proc/[0-9]*/cgroup | head -n 50); do
        case $(cat "${path%cgroup}comm" 2>/dev/null) in
        pause | "") ;;
        *) emit limits:pod <"${path%cgroup}limits" && break ;;
        esac
    done
    [ -z "$containerd" ] || emit limits:containerd <"/proc/$containerd/limits"
}

docker_engine() {
    [ -n "$dockerd" ] || return 0
    emit dockerd-argv <"/proc/$dockerd/cmdline"
    tr '\0' '\n' <"/proc/$dockerd/environ" | grep -iE '^(https?|no|all|ftp)_proxy=' |
        emit dockerd-environment
    timeout 5 iptables-save -t filter 2>/dev/null | # takes no lock; the lone RETURN is Docker's own rule
        grep '^-A DOCKER-USER' | grep -vxe '-A DOCKER-USER -j RETURN' | head -n 50 | emit docker-firewall
    command -v docker >/dev/null || return 0
    unset DOCKER_CONTEXT DOCKER_TLS_VERIFY DOCKER_CERT_PATH DOCKER_API_VERSION
    DOCKER_HOST=$(tr '\0' '\n' <"/proc/$dockerd/cmdline" | sed -n 's/.*\(unix:.*\)/\1/p' | head -n 1)
    # Nobody's client settings may send us to another daemon, or be written to.
    DOCKER_HOST=${DOCKER_HOST:-unix:///var/run/docker.sock} DOCKER_CONFIG=/nonexistent
    export DOCKER_HOST DOCKER_CONFIG
    ask docker-info docker info --format '{{json .}}'
    [ "$code" = 0 ] || return 0
    docker_root=$(printf '%s' "$answer" | sed -n 's/.*"DockerRootDir":"\([^"]*\)".*/\1/p')
    containers=$(timeout 10 docker ps --all --quiet --no-trunc 2>/dev/null)
    # shellcheck disable=SC2086 # ids; one that has gone meanwhile is no error
    [ -z "$containers" ] || timeout 20 docker inspect --type container --format \
        '[{{json .Id}},{{json .Name}},{{json .Config.Image}},{{json .State.Status}},{{json .Config.Labels}}]' \
        $containers 2>/dev/null | emit docker-containers
    images=$(timeout 10 docker image ls --quiet --no-trunc 2>/dev/null | sort -u)
    # shellcheck disable=SC2086
    [ -z "$images" ] || timeout 20 docker image inspect --format \
        '[{{json .Id}},{{json .RepoTags}},{{json .RepoDigests}},{{.Size}}]' \
        $images 2>/dev/null | emit docker-images
}

containerd_engine() {
    ! command -v containerd >/dev/null || ask containerd-version containerd --version
    [ -n "$containerd" ] || return 0
    emit containerd-argv <"/proc/$containerd/cmdline"
    # what runs, whatever lies on disk by now; for `ctr version` containerd would write its uuid
    ask containerd-running-version "/proc/$containerd/exe" --version
    address=$(argument "$containerd" address); address=${address:-/run/containerd/containerd.sock}
    if command -v ctr >/dev/null && [ -S "$address" ]; then
        ask containerd-plugins ctr --address "$address" plugins ls
        [ "$code" = 0 ] || return 0
        ask containerd-containers ctr --address "$address" -n k8s.io containers ls -q
        ask containerd-images ctr --address "$address" -n k8s.io images ls -q
    fi
}

network_plugins() { # the CNI folders that the runtime of today uses, and the usual ones
    asked=$kubelet
    [ -z "$shim" ] || asked=$shim
    conf=$(argument "$asked" cni-conf-dir)
    conf=${conf:-/etc/cni/net.d}
    for path in "$conf"/*; do
        case $path in *.conf | *.conflist | *.json) [ ! -f "$path" ] || emit "cni:$path" <"$path" ;; esac
    done
    printf '%s,/opt/cni/bin\n' "$(argument "$asked" cni-bin-dir)" | tr ',' '\n' | sort -u | while read -r folder; do
        [ -z "$folder" ] || [ ! -d "$folder" ] || find "$folder/" -maxdepth 1 ! -type d |
            sed 's|.*/||' | sort | emit "cni-bin:$folder"
    done
}

wanted_files() {
    # shellcheck disable=SC2086 # words and globs
    printf '%s\n' ${UNSHIM_PATHS:-} /etc/containerd/config.toml /etc/containerd/conf.d/*.toml \
        /etc/default/docker /etc/kubernetes/config /etc/kubernetes/kubelet /etc/modules /etc/sysctl.conf \
        /etc/sysconfig/docker /etc/sysconfig/docker-network /etc/sysconfig/docker-storage \
        /sys/fs/selinux/enforce
    for unit in kubelet.service docker.service docker.socket containerd.service cri-docker.service \
        cri-docker.socket cri-dockerd.service; do
        unit_value "$unit" FragmentPath
        unit_value "$unit" DropInPaths | tr ' ' '\n'
    done
    printf '%s\n' "$units" | sed -n 's/^EnvironmentFiles\{0,1\}=//p' | sed 's/ (ignore_errors=.*//'
    argument "$kubelet" config
    argument "$containerd" config
}

files() { # no private key leaves the node: *.key files are only said to exist
    wanted_files | sort -u | while IFS= read -r path; do
        case $path in
        *.key | *"$TAB"*) ;;
        /*) [ ! -f "$path" ] || [ ! -r "$path" ] || emit "file:$path" <"$path" ;;
        esac
    done
}

present() {
    {
        wanted_files
        # shellcheck disable=SC2086
        printf '%s\n' ${UNSHIM_PRESENT:-} /etc/cni/net.d /etc/containerd /etc/containerd/certs.d/*/* \
            /etc/docker/certs.d/*/* /etc/kubernetes/manifests/* /etc/rancher/k3s /opt/cni/bin \
            /root/.docker/config.json /run/containerd/containerd.sock /run/cri-dockerd.sock \
            /run/docker.sock /run/dockershim.sock /sys/fs/cgroup/cgroup.controllers \
            /sys/kernel/security/apparmor /sys/module/br_netfilter /sys/module/overlay \
            /var/lib/containerd /var/lib/cri-dockerd /var/lib/docker /var/lib/dockershim \
            /var/lib/kubelet/.dockercfg /var/lib/kubelet/config.json /var/lib/unshim/current \
            /var/run/cri-dockerd.sock /var/run/docker.sock /var/run/dockershim.sock
    } | sort -u | while IFS= read -r path; do
        while [ -n "$path" ] && [ "$path" != / ]; do # the folders above count, too
            [ ! -e "$path" ] && [ ! -L "$path" ] || echo "$path"
            path=${path%/*}
        done
    done | sort -u | emit present
}

disks() {
    root=$(argument "$containerd" root)
    config=$(argument "$containerd" config)
    config=${config:-/etc/containerd/config.toml}
    [ -n "$root" ] || [ ! -f "$config" ] ||
        root=$(sed -n '/^ *\[/q; s/^ *root *= *["'"'"']\([^"'"'"']*\).*/\1/p' "$config")
    for path in "${docker_root:-/var/lib/docker}" "${root:-/var/lib/containerd}" /var/lib/docker \
        /var/lib/containerd /var/lib/kubelet /var/lib/unshim /run /etc; do
        place=$path
        while [ ! -e "$place" ]; do place=$(dirname "$place"); done
        # shellcheck disable=SC2046 # type, size, room and mount point
        set -- $(df -PT -B1 "$place" 2>/dev/null | awk 'NR == 2 { print $2, $3, $5, $7 }')
        ftype=$([ "${1:-}" != xfs ] || timeout 5 xfs_info "$4" 2>/dev/null | sed -n 's/.*ftype=\([01]\).*/\1/p')
        [ $# -lt 3 ] || printf '%s\t%s\t%s\t%s\t%s\n' "$path" "$1" "$2" "$3" "$ftype"
    done | sort -u | emit disks
}

packages() {
    if command -v dpkg-query >/dev/null; then
        # shellcheck disable=SC2016 # dpkg-query's own words
        dpkg-query -W -f '${Package}\t${Version}\t${db:Status-Abbrev}\n' 'docker*' 'containerd*' \
            'kube*' 'moby-*' runc cri-tools 'cri-dockerd*' 2>/dev/null | grep "${TAB}[ih]i"
    elif command -v rpm >/dev/null; then
        rpm -qa --qf '%{NAME}\t%{VERSION}-%{RELEASE}\tii\n' 'docker*' 'containerd*' 'kube*' 'moby-*' \
            runc cri-tools 'cri-dockerd*' 2>/dev/null
    fi | emit packages
}

docker_users() { # files that call docker, and processes that hold its socket open
    {
        timeout 5 grep -rlIsE \
            -e '^[^#]*(^|[^[:alnum:]_.-])docker([[:space:]]|$)' -e '^[^#]*docker(\.sock|/containers)' \
            /etc/crontab /etc/cron.*/ /var/spool/cron /etc/systemd/system /etc/logrotate.d /etc/monit \
            /etc/rsyslog.d /etc/telegraf /etc/filebeat /etc/td-agent /etc/fluent-bit \
            /etc/node-problem-detector /usr/local/bin /usr/local/sbin /opt/bin 2>/dev/null |
            grep -vE '/(docker|containerd|cri-docker|cri-dockerd|kubelet|unshim-[a-z-]*)\.(service|socket)(\.d/|$)'
        ! command -v ss >/dev/null || timeout 5 ss -xp 2>/dev/null | awk '
            $5 ~ /docker\.sock$/ { theirs[$8] = 1 }
            { inode[NR] = $6; who[NR] = $0 }
            END { for (i in inode) if (inode[i] in theirs) print who[i] }' |
            sed -n 's/.*users:(("\([^"]*\)".*/process \1/p' |
            grep -vE '^process (dockerd|kubelet|cri-dockerd|docker)$'
    } | sort -u | head -n 100 | emit docker-users
}

runs
if [ "${UNSHIM_ONLY:-}" != runs ]; then
    machine
    services
    kubelet_itself
    pods
    docker_engine
    containerd_engine
    network_plugins
    files
    present
    disks
    packages
    docker_users
fi
printf '' | emit end
