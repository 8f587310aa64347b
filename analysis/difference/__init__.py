"""What differs between two models, by module."""

if __name__ != "modelexport.analysis.difference":
    raise ImportError(f"import this package as modelexport.analysis.difference, not as {__name__}")
