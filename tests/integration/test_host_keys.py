"""An unknown or changed host key: refused, always, with nothing touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import operator_process as unshim
from tests.integration import observing
from tests.integration.observing import MARKS
from tests.lab import Lab

pytestmark = MARKS

NODE = "worker-2"


@pytest.mark.parametrize("kind", ["unknown", "changed"])
def test_a_host_key_that_does_not_match_is_refused(
    lab: Lab, operator_log: Path, tmp_path: Path, kind: str
) -> None:
    """HostKeyRejected: not cordoned, not logged in to, no file written."""
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(_wrong(lab, kind))
    before, logins = observing.see(lab, NODE), _logins(lab)
    with unshim.running(lab, operator_log, UNSHIM_SSH_KNOWN_HOSTS_FILE=str(known_hosts)):
        unshim.apply(lab, unshim.migration("stranger", NODE))
        ended = unshim.finished(lab, "stranger", timeout=60)
    assert (ended["phase"], ended["reason"]) == ("Refused", "HostKeyRejected"), ended["message"]
    assert "known_hosts" in ended["message"] or "known hosts" in ended["message"]
    observing.assert_same(before, observing.see(lab, NODE))
    assert _logins(lab) == logins


def _wrong(lab: Lab, kind: str) -> str:
    """Without the node's lines, or with the key of another node in its place."""
    lines = lab.known_hosts.read_text().splitlines()
    address = lab.node(NODE).ip
    others = [line for line in lines if NODE not in line and address not in line]
    if kind == "unknown":
        return "\n".join(others) + "\n"
    algorithm, key = others[0].split()[1:3]
    return "\n".join([*others, f"{NODE},{address} {algorithm} {key}"]) + "\n"


def _logins(lab: Lab) -> int:
    """Public keys that the node's sshd has accepted."""
    script = "journalctl -q -u ssh --no-pager | grep -c 'Accepted publickey' || :"
    return int(lab.node(NODE).exec(script).stdout)
