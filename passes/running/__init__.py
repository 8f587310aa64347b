"""A model run by onnxruntime: sessions, inputs, values and shapes."""

if __name__ != "modelexport.passes.running":
    raise ImportError(f"import this package as modelexport.passes.running, not as {__name__}")
