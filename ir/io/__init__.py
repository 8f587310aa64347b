"""modelexport.ir.io"""

if __name__ != "modelexport.ir.io":  # from the root of a checkout the folder's own name would import a second copy
    raise ImportError(f"import this package as modelexport.ir.io, not as {__name__}")
