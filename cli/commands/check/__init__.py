"""Commands that find faults."""

if __name__ != "modelexport.cli.commands.check":
    raise ImportError(f"import this package as modelexport.cli.commands.check, not as {__name__}")
