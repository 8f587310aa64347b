"""What ``modelexport batch`` runs on: its manifest and its workers."""

if __name__ != "modelexport.cli.batching":  # from the root the folder's own name imports a second copy
    raise ImportError(f"import this package as modelexport.cli.batching, not as {__name__}")
