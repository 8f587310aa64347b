"""The export: settings in, tagged file and report out."""

if __name__ != "modelexport.frontend.export":
    raise ImportError(f"import this package as modelexport.frontend.export, not as {__name__}")
