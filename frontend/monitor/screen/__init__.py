"""What the export monitor shows on a terminal and in its log."""

if __name__ != "modelexport.frontend.monitor.screen":  # from the root the folder's own name imports a second copy
    raise ImportError(f"import this package as modelexport.frontend.monitor.screen, not as {__name__}")
