"""modelexport.passes.pipeline"""

if (
    __name__ != "modelexport.passes.pipeline"
):  # from the root of a checkout the folder's own name would import a second copy
    raise ImportError(f"import this package as modelexport.passes.pipeline, not as {__name__}")
