"""Passes that change structure or names."""

if __name__ != "modelexport.passes.rewriting":
    raise ImportError(f"import this package as modelexport.passes.rewriting, not as {__name__}")
