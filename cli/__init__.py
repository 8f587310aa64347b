"""modelexport.cli"""

if __name__ != "modelexport.cli":  # from the root of a checkout the folder's own name would import a second copy
    raise ImportError(f"import this package as modelexport.cli, not as {__name__}")
