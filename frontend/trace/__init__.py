"""What a model's own run tells: module calls, values, graphs of both exporters."""

if __name__ != "modelexport.frontend.trace":
    raise ImportError(f"import this package as modelexport.frontend.trace, not as {__name__}")
