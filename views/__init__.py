"""Pictures of a model: what browsers, notebooks, documents and other tools show."""

if __name__ != "modelexport.views":  # from the root of a checkout the folder's own name would import a second copy
    raise ImportError(f"import this package as modelexport.views, not as {__name__}")
