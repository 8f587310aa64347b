"""From names of nodes, values and weights to modules."""

if __name__ != "modelexport.passes.evidence.names":
    raise ImportError(f"import this package as modelexport.passes.evidence.names, not as {__name__}")
