"""modelexport.passes"""

if __name__ != "modelexport.passes":  # from the root of a checkout the folder's own name would import a second copy
    raise ImportError(f"import this package as modelexport.passes, not as {__name__}")
