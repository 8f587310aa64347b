"""What differs between two models, by module."""

if __name__ != "modelexport.analysis.difference":
    raise ImportError(f"import this package as modelexport.analysis.difference, not as {__name__}")

from modelexport.analysis.difference.report import diff_models as diff_models
from modelexport.analysis.difference.result import ModelDiff as ModelDiff
