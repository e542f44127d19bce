"""The whole report of an audit, beside the NodeMigration that asked for it.

A status holds a summary; findings with their reasons and whole diffs need more room.
"""

from __future__ import annotations

import logging

from unshim import __version__
from unshim.core.decide import View
from unshim.engine.session import Session
from unshim.engine.tools import Tools
from unshim.errors import UnshimError
from unshim.report import Meta, kept

log = logging.getLogger(__name__)


def keep(tools: Tools, session: Session, view: View) -> None:
    """Write the report, or remember why it could not be written: no run depends on it.

    A run from the command line has no NodeMigration; its report is printed.
    """
    if not session.migration:
        return
    node = view.node.name
    plans = {node: session.plan} if session.plan else {}
    meta = Meta(at=view.now, version=__version__, scope=node, nodes=1)
    texts = kept.keep(session.findings, plans, meta)
    try:
        session.report = tools.cluster.keep_report(session.migration, session.run, texts)
        session.report_error = ""
    except UnshimError as exc:
        session.report_error = str(exc)
        log.warning("node %s: the report was not written: %s", node, exc)


def pointer(session: Session) -> str:
    """Where the report is, as a sentence; empty when none was wanted."""
    if session.report_error:
        return f" The full report could not be written: {session.report_error}"
    return f" The full report is in ConfigMap {session.report}." if session.report else ""
