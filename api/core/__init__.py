"""modelexport.core: what is read back from a tagged model."""

if __name__ != "modelexport.core":  # from the root of a checkout the folder's own name would import a second copy
    raise ImportError(f"import this package as modelexport.core, not as {__name__}")
