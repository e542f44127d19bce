"""Every error a person can meet, sorted by what the caller must do about it.

Each carries a CamelCase `reason` for conditions and events; `str(error)` is safe to show and says
what happened, where, what state it was left in and what to do next.
"""

from __future__ import annotations


class UnshimError(Exception):
    """Base of all errors this project raises on purpose."""

    reason = "Error"


class Retryable(UnshimError):
    """Nothing is known to be wrong; try again on the next tick."""

    reason = "Retrying"


class NodeUnreachable(Retryable):
    """SSH could not connect, or the connection was lost."""

    reason = "NodeUnreachable"


class ClusterUnavailable(Retryable):
    """The API server did not answer, or answered with a passing error."""

    reason = "ClusterUnavailable"


class Forbidden(ClusterUnavailable):
    """The API server denies us this. Retryable: it says so too while it is still starting."""

    reason = "Forbidden"


class Busy(Retryable):
    """Another process holds this node's lock or Lease."""

    reason = "Busy"


class StepFailed(UnshimError):
    """A step's own verdict; the run rolls back."""

    reason = "StepFailed"


class DrainRefused(StepFailed):
    """A pod may not be evicted under the drain's options, or never can be."""

    reason = "DrainRefused"


class Refused(UnshimError):
    """We must not act. Nothing was changed."""

    reason = "Refused"


class InvalidSpec(Refused):
    """A field of the custom resource is wrong; the message names it."""

    reason = "InvalidSpec"


class InvalidPlaybook(Refused):
    """A playbook does not parse; the message names the path, such as steps[3].undo."""

    reason = "InvalidPlaybook"


class InvalidCredentials(Refused):
    """An SSH key, certificate or known_hosts text is missing or malformed."""

    reason = "InvalidCredentials"


class HostKeyRejected(Refused):
    """The node's host key is unknown or has changed. There is no way to accept it from here."""

    reason = "HostKeyRejected"


class AuthenticationFailed(Refused):
    """The node refused our key, or sudo asks for a password."""

    reason = "AuthenticationFailed"


class Blocked(Refused):
    """The audit found blockers; the message lists them."""

    reason = "Blocked"


class UnsupportedNode(Refused):
    """The node cannot be migrated in place (its facts say why)."""

    reason = "UnsupportedNode"


class NodeNotFound(Refused):
    """No Node object has this name."""

    reason = "NodeNotFound"


class MigrationNotFound(Refused):
    """No NodeMigration object has this name, or its CRD is not installed."""

    reason = "MigrationNotFound"


class ForeignRun(Refused):
    """The node holds an unfinished run of another migration."""

    reason = "ForeignRun"


class NeedsHuman(UnshimError):
    """Stop, keep everything as it is, and say what to do."""

    reason = "NeedsHuman"


class UndoFailed(NeedsHuman):
    """A rollback could not be completed."""

    reason = "UndoFailed"


class JournalCorrupt(NeedsHuman):
    """A line of the journal other than a torn last one does not parse."""

    reason = "JournalCorrupt"
