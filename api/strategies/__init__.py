"""modelexport.strategies"""

if __name__ != "modelexport.strategies":  # from the root of a checkout the folder's own name would import a second copy
    raise ImportError(f"import this package as modelexport.strategies, not as {__name__}")
