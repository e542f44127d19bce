"""What must be the same after a rollback as before: files with mode and owner, units' states."""

from __future__ import annotations

from collections.abc import Mapping

#: Left out because they change by themselves: mtab and resolv.conf (links to the kernel's and the
#: lab's own), ld.so.cache and .updated (rewritten at boot), adjtime.
LISTING = r"""
cd /
find etc \( -path etc/mtab -o -path etc/resolv.conf -o -path etc/.updated -o -path etc/ld.so.cache \
    -o -path etc/adjtime -o -path etc/machine-id \) -prune -o -printf '%p %y %#m %U:%G %l\n' | sort
find etc \( -path etc/mtab -o -path etc/resolv.conf -o -path etc/.updated -o -path etc/ld.so.cache \
    -o -path etc/adjtime -o -path etc/machine-id \) -prune -o -type f -print |
    sort | xargs -d '\n' sha256sum
for file in var/lib/kubelet/*.yaml var/lib/kubelet/*.env; do
    [ -f "$file" ] || continue
    stat -c '%n f %#a %u:%g' "$file"
    sha256sum "$file"
done
for unit in docker.service docker.socket containerd.service kubelet.service; do
    echo "unit:$unit $(systemctl is-enabled $unit 2>/dev/null) $(systemctl is-active $unit)"
done
systemctl list-unit-files --no-legend 'unshim*' | sed 's/^/unit-file: /'
"""


def parse_listing(text: str) -> Mapping[str, str]:
    """One entry a line; sums are kept under `sum:<path>`."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        first, _, rest = line.partition(" ")
        if len(first) == 64 and not first.startswith("etc"):
            found[f"sum:{rest.strip()}"] = first
        else:
            found[first] = rest.strip()
    return found
