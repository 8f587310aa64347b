"""Protos in memory, and graphs built from them."""

if __name__ != "modelexport.ir.proto":  # from the root of a checkout the folder's own name would import a second copy
    raise ImportError(f"import this package as modelexport.ir.proto, not as {__name__}")
