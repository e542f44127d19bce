"""The lab's own network: one namespace with a bridge, one for each node, no way out.

Every lab uses the same addresses: labs cannot see each other, nor the machine's own network.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.lab.shells import run

HOST = "10.66.0.1"  # the bridge: registry, tests, operator
SERVICE = "10.96.0.1"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node is: its own address and its pods' /24."""

    node: str
    ip: str
    pods: str  # "10.244.1"


def address(node: str) -> Address:
    role, number = node.rsplit("-", 1)
    index = int(number) + (10 if role == "cp" else 20)
    return Address(node, f"10.66.0.{index}", f"10.244.{index}")


def namespace(lab: str, node: str = "") -> str:
    return f"unshim-{lab}-{node}" if node else f"unshim-{lab}"


def create(lab: str, nodes: list[str]) -> None:
    host = namespace(lab)
    _ip("netns", "add", host)
    _ip("-n", host, "link", "set", "lo", "up")
    _ip("-n", host, "link", "add", "br0", "type", "bridge")
    _ip("-n", host, "addr", "add", f"{HOST}/24", "dev", "br0")
    _ip("-n", host, "link", "set", "br0", "up")
    _sysctl(host, "net.ipv4.ip_forward=1")
    for node in nodes:
        _attach(lab, address(node))
    for at in map(address, nodes):
        for other in map(address, nodes):
            if other != at:
                _ip("-n", namespace(lab, at.node), "route", "add", f"{other.pods}.0/24",
                    "via", other.ip)  # fmt: skip
        _ip("-n", host, "route", "add", f"{at.pods}.0/24", "via", at.ip)


def _attach(lab: str, at: Address) -> None:
    host, own = namespace(lab), namespace(lab, at.node)
    _ip("netns", "add", own)
    _ip("-n", own, "link", "add", "eth0", "type", "veth", "peer", "name", at.node, "netns", host)
    _ip("-n", host, "link", "set", at.node, "master", "br0", "up")
    _ip("-n", own, "link", "set", "lo", "up")
    _ip("-n", own, "addr", "add", f"{at.ip}/24", "dev", "eth0")
    _ip("-n", own, "link", "set", "eth0", "up")
    _ip("-n", own, "route", "add", "default", "via", HOST)
    # the kubelet asks for cloud metadata; a black hole costs it nine seconds
    _ip("-n", own, "route", "add", "unreachable", "169.254.0.0/16")
    # already on before dockerd starts, which would otherwise also set FORWARD to DROP
    _sysctl(own, "net.ipv4.ip_forward=1")
    for chain in ("PREROUTING", "OUTPUT"):
        run(["ip", "netns", "exec", own, "iptables", "-t", "nat", "-A", chain, "-d", SERVICE,
             "-p", "tcp", "--dport", "443", "-j", "DNAT",
             "--to-destination", f"{address('cp-1').ip}:6443"])  # fmt: skip
    # pods reach other machines of the lab under their node's address, and are answered
    run(["ip", "netns", "exec", own, "iptables", "-t", "nat", "-A", "POSTROUTING",
         "-s", f"{at.pods}.0/24", "!", "-d", "10.244.0.0/16", "-j", "MASQUERADE"])  # fmt: skip


def remove(lab: str) -> None:
    """Delete every namespace of this lab; the veths go with them."""
    listed = run(["ip", "netns", "list"]).stdout.split("\n")
    for name in [line.split(" ")[0] for line in listed if line]:
        if name == namespace(lab) or name.startswith(namespace(lab) + "-"):
            run(["ip", "netns", "delete", name], check=False)


def _ip(*args: str) -> None:
    run(["ip", *args])


def _sysctl(netns: str, setting: str) -> None:
    run(["ip", "netns", "exec", netns, "sysctl", "-qw", setting])
