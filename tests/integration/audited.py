"""What the audit tests compare: a node's disk and units, and what each face calls a blocker."""

from __future__ import annotations

import re
from typing import Any

from tests.lab import Lab

#: Every file that an audit could change, with its sum and owner. Logs (the API server's audit log
#: among them) and open sockets move by themselves; units that come and go with an SSH session or
#: with the clock are left out.
DISK = r"""
cd /
find etc var/lib/kubelet var/lib/docker/image var/lib/docker/containers var/lib/unshim usr/local \
    -not -name '*.log' -not -type s -printf '%p %y %#m %U:%G %l\n' 2>/dev/null | sort
find etc var/lib/kubelet var/lib/docker/image var/lib/docker/containers usr/local \
    -type f -not -name '*.log' -not -path 'etc/kubernetes/audit/*' -print0 |
    sort -z | xargs -0 sha256sum
find var/lib/containerd var/lib/docker/overlay2 -maxdepth 3 -printf '%p %y %#m\n' | sort
ctr -n k8s.io images ls -q | sort
ctr -n k8s.io containers ls -q | sort
docker images -aq --no-trunc | sort
docker ps -aq --no-trunc | sort
systemctl list-unit-files --no-legend
systemctl list-units --all --plain --no-legend --type=service,socket,timer,path |
    grep -Ev '^(user|ssh|apt-|systemd-tmpfiles|logrotate|dpkg|man-db|e2scrub|fstrim)' |
    awk '{print $1, $2, $3}'
iptables-save | sed 's/\[[0-9:]*\]//; /^#/d'
sysctl -a 2>/dev/null | grep -E '^net\.(ipv4\.ip_forward|bridge\.|ipv4\.conf\.all)'
"""
_BLOCKER = re.compile(r"^blocker +(\S+) +(\S+)", re.M)
READS = {"get", "list", "watch"}


def disk(lab: Lab, node: str) -> str:
    return lab.node(node).exec(DISK).stdout


def blockers(text: str) -> set[tuple[str, str]]:
    """Rule and object of each row of a table that says blocker."""
    return set(_BLOCKER.findall(text))


def asked(lab: Lab, since: int) -> list[dict[str, Any]]:
    """Every request of ours since the audit log had this many entries."""
    done = [e for e in lab.audit_log()[since:] if e["stage"] == "ResponseComplete"]
    return [e for e in done if e.get("userAgent", "").startswith("unshim")]


def writes(entries: list[dict[str, Any]]) -> list[str]:
    return [f"{e['verb']} {e['requestURI']}" for e in entries if e["verb"] not in READS]
