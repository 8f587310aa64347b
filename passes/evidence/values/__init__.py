"""Computed values and weights compared with recorded ones."""

if __name__ != "modelexport.passes.evidence.values":
    raise ImportError(f"import this package as modelexport.passes.evidence.values, not as {__name__}")
