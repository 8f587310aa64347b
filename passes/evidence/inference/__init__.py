"""What lies around a node tells of its module."""

if __name__ != "modelexport.passes.evidence.inference":
    raise ImportError(f"import this package as modelexport.passes.evidence.inference, not as {__name__}")
