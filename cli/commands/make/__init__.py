"""Commands that make tagged models."""

if __name__ != "modelexport.cli.commands.make":
    raise ImportError(f"import this package as modelexport.cli.commands.make, not as {__name__}")
