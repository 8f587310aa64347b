"""The ``modelexport`` command: subcommands are imported when they are called, so help and version start fast."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from modelexport.cli.console import clean_up_when_terminated, run_guarded, show_version
from modelexport.cli.options import talk_options

# By task, as the help shows them: name -> one line. The module is commands/<task>/<name>.py; the line is the first
# sentence of the command's own help, which a test compares.
GROUPS: dict[str, dict[str, str]] = {
    "Make": {
        "export": "Export a PyTorch model to ONNX with a module tag on every node.",
        "trace": "Record a model's modules and values, for htp-opt --trace.",
        "run": "Run a program that exports models; what it exports carries tags.",
        "batch": "Export many models, each in its own process.",
        "demo": "Export a small built-in transformer and show its modules.",
    },
    "Look": {
        "analyze": "Count a tagged model's nodes by module, operator or source.",
        "diff": "Tell what differs between two models, by module.",
        "compare": "Compare two tagged models module by module.",
        "select": "Select nodes by the modules they are from.",
        "cost": "Count multiply-accumulates, parameters and bytes by module.",
        "profile": "Measure the time of each module, or read it from a profile.",
        "view": "Show a model's modules, operators and how they are connected.",
    },
    "Act": {
        "retag": "Carry tags from a model to its optimised version.",
        "extract": "Write modules as a model of their own.",
        "split": "Cut a model into stages that run one after the other.",
    },
    "Check": {
        "compare-values": "Find the module that computes something else than the reference.",
        "validate": "Check a model and its sidecar, and repair what can be repaired.",
    },
    "Shell": {
        "completion": "Print the completion script of a shell.",
    },
}
COMMANDS: dict[str, str] = {name: line for group in GROUPS.values() for name, line in group.items()}
_WITH_TEMPORARY_FILES = ("look", "act", "check")  # the others run code that has its own ways with signals
_FOLDERS = {name: group.lower() for group, commands in GROUPS.items() for name in commands}


class LazyGroup(click.Group):
    """A group whose commands are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        file = f"{_FOLDERS[cmd_name]}.{cmd_name.replace('-', '_')}"
        module = importlib.import_module(f"modelexport.cli.commands.{file}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from modelexport.cli.schema import hint

            raise click.UsageError(f"no command {args[0]!r}{hint(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, COMMANDS))
        for group, commands in GROUPS.items():
            with formatter.section(group):
                formatter.write_dl([(name.ljust(width), line) for name, line in commands.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=show_version, help="Show it.")
@talk_options
def cli() -> None:
    """Which nn.Module is each ONNX operator from?

    Exports PyTorch models with a module tag on every node, and reads, checks, compares and repairs those tags.

    \b
    From a Python file to a tagged model, its statistics, a query and a comparison:
      modelexport export model.py model.onnx
      modelexport analyze model.onnx
      modelexport analyze model.onnx --filter-tag "*Attention*"
      modelexport compare model.onnx other.onnx
    """


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0 fine, 1 findings, 2 usage or input, 3 a pass crashed, 130 Ctrl-C."""
    if args is None and any(_FOLDERS.get(word) in _WITH_TEMPORARY_FILES for word in sys.argv[1:]):
        clean_up_when_terminated()
    return run_guarded(cli, "modelexport", args)


if __name__ == "__main__":
    sys.exit(main())
