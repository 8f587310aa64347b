"""Edits of a graph's structure, and what keeps its indexes and the order of its nodes true."""

if __name__ != "modelexport.ir.editing":  # from the root the folder's own name imports a second copy
    raise ImportError(f"import this package as modelexport.ir.editing, not as {__name__}")
