"""modelexport.frontend"""

if __name__ != "modelexport.frontend":  # from the root of a checkout the folder's own name would import a second copy
    raise ImportError(f"import this package as modelexport.frontend, not as {__name__}")
