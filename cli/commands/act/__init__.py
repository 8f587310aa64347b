"""Commands that write another model."""

if __name__ != "modelexport.cli.commands.act":
    raise ImportError(f"import this package as modelexport.cli.commands.act, not as {__name__}")
