#!/bin/sh
# The node's own side of the proof: prints key=value lines and changes nothing.
# POSIX sh, coreutils, grep, sed, awk and systemctl; ctr and docker are asked only when they run.

say() { printf '%s=%s\n' "$1" "$(printf '%s' "$2" | tr '\n' ' ')"; }
epoch() { [ -n "$1" ] && date -d "$1" +%s 2>/dev/null; }

# one line for each process of a pod (and for each hierarchy of cgroup v1)
cgroups() { cat /proc/[0-9]*/cgroup 2>/dev/null | grep -e kubepods -e ':cri-containerd:'; }

# shims NAMESPACE: how many of its pods or containers have one, whether containerd answers or not
shims() {
  cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n' |
    awk -v of="$1" 'last == "-namespace" && $0 == of { n++ } { last = $0 } END { print n + 0 }'
}

# A pod that was deleted a moment ago is waited for here: asking again over SSH takes longer.
gone=$(printf '%s' "${UNSHIM_LEAVING:-}" | sed 's/[-_]/[-_]/g')
tries=40
while [ -n "$gone" ] && [ $tries -gt 0 ] && cgroups | grep -q "pod$gone"; do
  tries=$((tries - 1))
  sleep 0.05
done

# One question for all units: each costs systemd some 10 ms, and the node waits for this answer.
units=$(systemctl show kubelet.service containerd.service docker.service docker.socket -p Id \
  -p ActiveState -p ActiveEnterTimestamp -p MainPID -p NRestarts 2>/dev/null)

# show UNIT PROPERTY; systemctl prints one block of KEY=VALUE lines a unit, blank lines between them
show() {
  printf '%s\n' "$units" | awk -v RS= -v unit="$1" -v key="$2" '
    index("\n" $0 "\n", "\nId=" unit "\n") {
      for (n = split($0, line, "\n"); n > 0; n--)
        if (index(line[n], key "=") == 1) print substr(line[n], length(key) + 2)
    }'
}
active() { if [ "$(show "$1" ActiveState)" = active ]; then echo yes; else echo no; fi; }

say now "$(date +%s)"

pid=$(show kubelet.service MainPID)
say kubelet_active "$(active kubelet.service)"
say kubelet_pid "$pid"
say kubelet_restarts "$(show kubelet.service NRestarts)"
say kubelet_started "$(epoch "$(show kubelet.service ActiveEnterTimestamp)")"
if [ -r "/proc/${pid:-0}/cmdline" ] && [ "${pid:-0}" -gt 0 ]; then
  say kubelet_cmdline "$(tr '\0' ' ' <"/proc/$pid/cmdline")"
  config=$(tr '\0' '\n' <"/proc/$pid/cmdline" |
    awk '/^--config=/ { sub(/^--config=/, ""); found = $0 } last == "--config" { found = $0 }
         { last = $0 } END { print found }')
  if [ -r "$config" ]; then
    say kubelet_config_endpoint "$(sed -n \
      's/^[[:space:]]*"\{0,1\}containerRuntimeEndpoint"\{0,1\}:[[:space:]]*"\{0,1\}\([^",[:space:]]*\).*/\1/p' \
      "$config" | tail -n 1)"
  fi
fi

say containerd_active "$(active containerd.service)"
say containerd_restarts "$(show containerd.service NRestarts)"
say docker_active "$(active docker.service)"
say docker_socket_active "$(active docker.socket)"

# A kubelet started with wrong flags takes over containerd's socket file: then two processes listen
# at the same path, and whoever connects does not reach containerd.
socket=/run/containerd/containerd.sock
say socket_listeners "$(awk -v path="$socket" '$4 == "00010000" && $8 == path' /proc/net/unix |
  wc -l | tr -d ' ')"
if tasks=$(timeout 5 ctr --address "$socket" -n k8s.io tasks ls -q 2>/dev/null); then
  say socket_server containerd # another server there would not know of tasks
  say ctr_tasks "$(printf '%s\n' "$tasks" | grep -c .)"
else
  say socket_server none
  say ctr_tasks "$(shims k8s.io)"
fi

# `docker ps` would wake Docker through its socket, so it is asked only when it runs anyway.
if [ "$(active docker.service)" = yes ]; then
  say docker_kubernetes "$(timeout 10 docker ps -q --filter label=io.kubernetes.docker.type 2>/dev/null |
    wc -l | tr -d ' ')"
fi
say moby_shims "$(shims moby)"

# Where the pods' processes really are: a driver mismatch shows in the shape of these paths, and a
# pod whose uid stands in none of them has no process left.
cgroups | awk -F: '
  { path = $3; for (i = 4; i <= NF; i++) path = path ":" $i }
  match(path, /[\/-]pod[0-9a-f][-0-9a-f_]+/) {
    uid = substr(path, RSTART + 4, RLENGTH - 4); gsub(/_/, "-", uid); uids[uid] = 1
  }
  path ~ /:(cri-containerd|docker):/ { mismatch++; next }
  path ~ /kubepods[^\/]*\.slice\// { systemd++; next }
  path ~ /\/kubepods\// { cgroupfs++ }
  END {
    printf "cgroup_systemd=%d\ncgroup_cgroupfs=%d\ncgroup_mismatch=%d\n", systemd, cgroupfs, mismatch
    printf "pod_uids="; for (uid in uids) printf "%s ", uid
    print ""
  }'
exit 0
