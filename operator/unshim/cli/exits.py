"""Exit codes, the same for every command."""

from __future__ import annotations

from unshim.core.decide import Result
from unshim.errors import NeedsHuman, Retryable, UnshimError

FINE = 0
BLOCKED = 1  # blockers were found, or the run failed and the node was rolled back
USAGE = 2
NEEDS_HUMAN = 3
TRY_AGAIN = 75  # EX_TEMPFAIL

HELP = """exit codes:
  0   done
  1   blockers were found, or the migration was rolled back: the node is as it was
  2   the command line, a file or a field is wrong: nothing was touched
  3   a person is needed: the node stays cordoned and nothing was deleted
  75  a passing problem (node or API server unreachable, or another process at work): try again
"""


def of_result(result: Result | None, reason: str) -> int:
    match result:
        case Result.SUCCEEDED:
            return FINE
        case Result.AUDITED:
            return BLOCKED if reason == "Blocked" else FINE
        case Result.FAILED:
            return NEEDS_HUMAN
        case None:
            return TRY_AGAIN
        case _:
            return BLOCKED


def of_error(error: UnshimError) -> int:
    if isinstance(error, Retryable):
        return TRY_AGAIN
    return NEEDS_HUMAN if isinstance(error, NeedsHuman) else USAGE
