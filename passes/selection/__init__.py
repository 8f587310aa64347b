"""The selector language: which nodes a text selects."""

if __name__ != "modelexport.passes.selection":
    raise ImportError(f"import this package as modelexport.passes.selection, not as {__name__}")
