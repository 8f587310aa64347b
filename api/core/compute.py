"""What a module costs: the functions of :mod:`modelexport.analysis` under a documented path."""

from __future__ import annotations

from modelexport.analysis.costing.report import CostReport, cost

__all__ = ["CostReport", "cost"]
