"""How nodes and graphs are recognised across files."""

if __name__ != "modelexport.ir.identity":  # from the root the folder's own name imports a second copy
    raise ImportError(f"import this package as modelexport.ir.identity, not as {__name__}")
