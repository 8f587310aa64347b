"""External data: weights in files of their own, carried along, gathered, copied or embedded."""

if __name__ != "modelexport.ir.io.external":  # from the root the folder's own name imports a second copy
    raise ImportError(f"import this package as modelexport.ir.io.external, not as {__name__}")
