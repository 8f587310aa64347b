"""``modelexport completion``: the script a shell needs to complete commands, options and files."""

from __future__ import annotations

import click

from modelexport.cli.output import put

SHELLS = ("bash", "zsh", "fish")


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
    from click.shell_completion import get_completion_class

    from modelexport.cli.modelexport import cli

    maker = get_completion_class(shell)
    if maker is None:  # the choices above are click's own shells
        raise click.UsageError(f"no completion for {shell}")
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    put(maker(cli, {}, program, variable).source())
