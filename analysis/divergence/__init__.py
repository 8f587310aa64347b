"""Which module computes something else than the reference."""

if __name__ != "modelexport.analysis.divergence":
    raise ImportError(f"import this package as modelexport.analysis.divergence, not as {__name__}")
