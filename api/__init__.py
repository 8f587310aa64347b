"""modelexport"""

if __name__ != "modelexport":  # from the root of a checkout the folder's own name would import a second copy
    raise ImportError(f"import this package as modelexport, not as {__name__}")
