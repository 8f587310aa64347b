"""torch's two exporters and the state they touch."""

if __name__ != "modelexport.frontend.torch":
    raise ImportError(f"import this package as modelexport.frontend.torch, not as {__name__}")
