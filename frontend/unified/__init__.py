"""One call that chooses how to export a model, falls back when that fails, and may optimise the result."""

if __name__ != "modelexport.frontend.unified":  # from the root the folder's own name imports a second copy
    raise ImportError(f"import this package as modelexport.frontend.unified, not as {__name__}")
