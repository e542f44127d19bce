"""An audit's findings as text that people and machines read. Pure: findings in, text out.

`RENDERERS[name](findings, plans, meta)`; `plans` holds, by node, what a migration would do there.
"""

from collections.abc import Callable, Mapping

from unshim.audit.finding import Finding
from unshim.core.plan import NodePlan, PlannedStep, Plans
from unshim.report import junit, page, sarif, structured, table
from unshim.report.model import Meta

Renderer = Callable[[tuple[Finding, ...], Plans, Meta], str]

RENDERERS: Mapping[str, Renderer] = {
    "table": table.render,
    "json": structured.render_json,
    "yaml": structured.render_yaml,
    "junit": junit.render,
    "sarif": sarif.render,
    "html": page.render,
}

__all__ = ["RENDERERS", "Meta", "NodePlan", "PlannedStep", "Plans", "Renderer"]
