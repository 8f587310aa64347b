"""The folder that ``modelexport run`` puts on PYTHONPATH: Python imports its ``sitecustomize`` when it starts."""

if __name__ != "modelexport.frontend.clients.bootstrap":
    raise ImportError(f"import this package as modelexport.frontend.clients.bootstrap, not as {__name__}")
