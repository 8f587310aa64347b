"""Results over a model that change nothing: what its modules cost, take and get wrong."""

if __name__ != "modelexport.analysis":  # from the root of a checkout the folder's own name would import a second copy
    raise ImportError(f"import this package as modelexport.analysis, not as {__name__}")
