"""One file a command, in a folder for each task of the help."""

if __name__ != "modelexport.cli.commands":
    raise ImportError(f"import this package as modelexport.cli.commands, not as {__name__}")
