"""modelexport.strategies.htp"""

if (
    __name__ != "modelexport.strategies.htp"
):  # from the root of a checkout the folder's own name would import a second copy
    raise ImportError(f"import this package as modelexport.strategies.htp, not as {__name__}")
