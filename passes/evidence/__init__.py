"""modelexport.passes.evidence"""

if (
    __name__ != "modelexport.passes.evidence"
):  # from the root of a checkout the folder's own name would import a second copy
    raise ImportError(f"import this package as modelexport.passes.evidence, not as {__name__}")
