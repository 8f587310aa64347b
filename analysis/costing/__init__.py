"""Multiply-accumulates, parameters and bytes by module."""

if __name__ != "modelexport.analysis.costing":
    raise ImportError(f"import this package as modelexport.analysis.costing, not as {__name__}")
