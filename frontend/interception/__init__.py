"""Standing inside torch's exporters, for exports that somebody else starts."""

if __name__ != "modelexport.frontend.interception":
    raise ImportError(f"import this package as modelexport.frontend.interception, not as {__name__}")
