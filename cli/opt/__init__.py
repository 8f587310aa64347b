"""What ``htp-opt`` does with its options."""

if __name__ != "modelexport.cli.opt":  # from the root the folder's own name imports a second copy
    raise ImportError(f"import this package as modelexport.cli.opt, not as {__name__}")
