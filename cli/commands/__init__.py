"""One file a command."""

if __name__ != "modelexport.cli.commands":
    raise ImportError(f"import this package as modelexport.cli.commands, not as {__name__}")
