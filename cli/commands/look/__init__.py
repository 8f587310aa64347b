"""Commands that show a model and change nothing."""

if __name__ != "modelexport.cli.commands.look":
    raise ImportError(f"import this package as modelexport.cli.commands.look, not as {__name__}")
