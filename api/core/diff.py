"""What differs between two models, by module: ``diff_models(a, b) -> ModelDiff``."""

from __future__ import annotations

from modelexport.analysis.difference.report import diff_models
from modelexport.analysis.difference.result import ModelDiff, ModuleDiff, NodeChange, ShapeChange, WeightChange

__all__ = ["ModelDiff", "ModuleDiff", "NodeChange", "ShapeChange", "WeightChange", "diff_models"]
