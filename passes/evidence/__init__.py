"""What several passes read."""

if __name__ != "modelexport.passes.evidence":
    raise ImportError(f"import this package as modelexport.passes.evidence, not as {__name__}")
