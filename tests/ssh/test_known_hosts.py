"""known_hosts read as OpenSSH reads it: compared with ssh-keygen itself."""

from __future__ import annotations

import base64
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unshim.errors import HostKeyRejected
from unshim.ssh import host_keys, known_hosts
from unshim.ssh.host_keys import Offer, Peer

KEY_TYPE = "ssh-ed25519"


def blob(number: int) -> bytes:
    name = KEY_TYPE.encode()
    return len(name).to_bytes(4, "big") + name + (32).to_bytes(4, "big") + bytes([number] * 32)


def line(patterns: str, number: int = 1, marker: str = "") -> str:
    return f"{marker} {patterns} {KEY_TYPE} {base64.b64encode(blob(number)).decode()}\n".lstrip()


HOSTS = ["a", "ab", "A.b", "10.0.0.1", "[a]:22", "[ab]:2222"]
PATTERN = st.text(alphabet="ab.*?[]:!2", min_size=1, max_size=6).filter(
    lambda p: p.strip("!") and not p.startswith("!!")
)
PATTERNS = st.lists(PATTERN, min_size=1, max_size=3).map(",".join)


def found_by_ssh_keygen(path: Path, host: str) -> list[int]:
    done = subprocess.run(
        ["ssh-keygen", "-F", host, "-f", str(path)], capture_output=True, text=True, check=False
    )
    lines = [row for row in done.stdout.splitlines() if row.startswith("# Host")]
    return [int(row.split("line ")[1].split()[0]) for row in lines]


@settings(max_examples=60, deadline=None)
@given(patterns=st.lists(PATTERNS, min_size=1, max_size=4), hashed=st.booleans())
def test_the_same_lines_match_as_for_ssh_keygen(patterns: Sequence[str], hashed: bool) -> None:
    """Patterns, negation, brackets, capitals and hashed names: no difference for any host."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "known_hosts"
        path.write_text("".join(line(p) for p in patterns))
        if hashed:
            subprocess.run(["ssh-keygen", "-q", "-H", "-f", path], check=False, capture_output=True)
        lines = known_hosts.parse(path.read_text())
        for host in HOSTS:
            ours = [found.number for found in lines if found.matches(host)]
            assert ours == found_by_ssh_keygen(path, host), (host, path.read_text())


def verdict(text: str, number: int, port: int = 22, node: str = "n") -> str:
    """Empty when the key is accepted, else the refusal."""
    peer = Peer(host="h", port=port, label="Node n", alias=node)
    offer = Offer(key_type=KEY_TYPE, blob=blob(number))
    try:
        host_keys.check(host_keys.claims(known_hosts.parse(text), peer), offer, now=0.0)
    except HostKeyRejected as exc:
        return str(exc)
    return ""


@pytest.mark.parametrize(
    ("text", "port", "fine"),
    [
        (line("h"), 22, True),
        (line("h"), 2222, True),
        (line("[h]:2222"), 2222, True),
        (line("[h]:2222"), 22, False),
        (line("[h]:2222", 2) + line("h"), 2222, False),
        (line("h", 2) + line("[h]:2222"), 2222, True),
        (line("n"), 22, True),
        (line("h") + line("n", 2), 22, False),
        (line("h", 2) + line("n"), 22, False),
        (line("h", 2) + line("h"), 22, True),
        (line("h") + line("h", 1, "@revoked"), 22, False),
        (line("h") + line("[h]:2222", 1, "@revoked"), 2222, False),
        (line("[h]:2222") + line("h", 1, "@revoked"), 2222, False),
        (line("h") + line("n", 1, "@revoked"), 22, False),
        (line("h") + line("x", 1, "@revoked"), 22, True),
        (line("h", 1, "@cert-authority") + line("x"), 22, False),
        (line("*,!h"), 22, True),  # through the node's name
        (line("*,!h,!n"), 22, False),
        (line("x"), 22, False),
    ],
)
def test_who_is_trusted(text: str, port: int, fine: bool) -> None:
    """Every combination of names, ports, contradictions and revocations that matters."""
    assert (verdict(text, 1, port) == "") is fine


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["h", "n", "[h]:2222", "*", "x", "h,!n"]),
            st.integers(1, 2),
            st.sampled_from(["", "", "@revoked", "@cert-authority"]),
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([22, 2222]),
)
def test_no_key_is_trusted_without_its_own_line(
    rows: list[tuple[str, int, str]], port: int
) -> None:
    """Whatever else stands there: accepted only with a plain line of this key, never if revoked."""
    text = "".join(line(*row) for row in rows) + line("y", 9)
    about_us = [row for row in rows if row[0] != "x"]
    if verdict(text, 1, port) == "":
        assert any(number == 1 and not marker for _, number, marker in about_us)
        assert not any(
            number == 1 and marker == "@revoked" and pattern in ("h", "n", "*")
            for pattern, number, marker in rows
        )
