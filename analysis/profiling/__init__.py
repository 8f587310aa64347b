"""Time by module, from a runtime's profile."""

if __name__ != "modelexport.analysis.profiling":
    raise ImportError(f"import this package as modelexport.analysis.profiling, not as {__name__}")
