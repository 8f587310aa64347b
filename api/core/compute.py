"""What a module costs and takes: the functions of :mod:`modelexport.analysis` under a documented path."""

from __future__ import annotations

from modelexport.analysis.costing.report import CostReport, cost
from modelexport.analysis.profiling.report import ProfileReport, profile

__all__ = ["CostReport", "ProfileReport", "cost", "profile"]
