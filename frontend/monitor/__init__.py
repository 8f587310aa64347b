"""modelexport.frontend.monitor"""

if (
    __name__ != "modelexport.frontend.monitor"
):  # from the root of a checkout the folder's own name would import a second copy
    raise ImportError(f"import this package as modelexport.frontend.monitor, not as {__name__}")
