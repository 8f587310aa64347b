"""What a module costs, takes and gets wrong, and how to cut it out: the functions of :mod:`modelexport.analysis` and
:mod:`modelexport.passes.partition` under one documented path."""

from __future__ import annotations

from modelexport.analysis.costing.report import CostReport, cost
from modelexport.analysis.divergence.report import compare_values
from modelexport.analysis.divergence.result import Divergence
from modelexport.analysis.profiling.report import ProfileReport, profile
from modelexport.passes.partition import extract, split

__all__ = ["CostReport", "Divergence", "ProfileReport", "compare_values", "cost", "extract", "profile", "split"]
