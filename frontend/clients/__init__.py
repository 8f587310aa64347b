"""Exports that somebody else starts: ``modelexport run`` and ``modelexport.tagging()``."""

if __name__ != "modelexport.frontend.clients":
    raise ImportError(f"import this package as modelexport.frontend.clients, not as {__name__}")
