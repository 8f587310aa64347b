"""What exporters, other tools and we wrote about a node's module."""

if __name__ != "modelexport.passes.evidence.records":
    raise ImportError(f"import this package as modelexport.passes.evidence.records, not as {__name__}")
