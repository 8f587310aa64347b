"""``modelexport completion``: the script a shell needs to complete commands, options and files."""

from __future__ import annotations

import click

from modelexport.cli.console import SHELLS, completion_script, put


@click.command("completion", short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.option("--program", type=click.Choice(["modelexport", "htp-opt"]), default="modelexport", show_default=True)
def command(shell: str, program: str) -> None:
    """Print the completion script of a shell.

    \b
    Examples:
      eval "$(modelexport completion bash)"
      modelexport completion fish > ~/.config/fish/completions/modelexport.fish
    """
    from modelexport.cli.modelexport import cli

    put(completion_script(cli, program, shell))
