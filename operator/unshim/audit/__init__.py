"""What the move to containerd would break: pure rules over a snapshot of cluster and nodes.

The same rules are the audit that people run and the preflight of every migration, so a dry run and
a real run cannot disagree. `audit(snapshot)` is the one entry.
"""

from unshim.audit.auditing import audit
from unshim.audit.finding import Finding, Severity, Subject, counts
from unshim.audit.ignores import Ignore
from unshim.audit.rules import RULES
from unshim.audit.snapshot import Snapshot, preflight

__all__ = [
    "RULES",
    "Finding",
    "Ignore",
    "Severity",
    "Snapshot",
    "Subject",
    "audit",
    "counts",
    "preflight",
]
