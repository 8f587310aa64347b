"""Other tools as passes that keep every node's module."""

if __name__ != "modelexport.passes.tools":
    raise ImportError(f"import this package as modelexport.passes.tools, not as {__name__}")
