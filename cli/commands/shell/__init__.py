"""Commands for the shell itself."""

if __name__ != "modelexport.cli.commands.shell":
    raise ImportError(f"import this package as modelexport.cli.commands.shell, not as {__name__}")
