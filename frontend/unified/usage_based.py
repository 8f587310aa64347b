"""The usage-based strategy: tags from the weights that operators read."""

from __future__ import annotations

from typing import ClassVar

from modelexport.frontend.export.exporter import HierarchyExporter
from modelexport.frontend.settings import Evidence


class UsageBasedExporter(HierarchyExporter):
    """Exports models and tags nodes by the parameters they use.

    The same engine and the same result as HierarchyExporter with ``parameter-attribution`` in place of module scopes:
    no hooks and no second forward, so it is quicker and works where modules can't be watched, and it is less exact.
    A node that reads no weight gets the module of its neighbours, with source ``inherited`` or ``fallback``.
    """

    evidence: ClassVar[Evidence | None] = "parameter"
    result_strategy: ClassVar[str | None] = "usage_based"
