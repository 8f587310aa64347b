"""Where models, example inputs and names come from."""

if __name__ != "modelexport.frontend.inputs":
    raise ImportError(f"import this package as modelexport.frontend.inputs, not as {__name__}")
