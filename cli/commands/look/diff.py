"""``modelexport diff``: what differs between two models, by module."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from modelexport.cli.console import put, put_json, warn
from modelexport.cli.options import format_option, talk, talk_options
from modelexport.cli.parameters import ParamType, Tolerance

_IGNORE = ("attributes", "weights", "shapes", "connections")


class Renaming(ParamType[Any]):
    """``OLD=NEW``, two dotted paths; a dot is the root."""

    name = "OLD=NEW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        old, separator, new = str(value).partition("=")
        if not separator:
            self.fail(f"{value!r}: expected OLD=NEW, as in encoder.layers=encoder.layer", param, ctx)
        return ("" if old == "." else old), ("" if new == "." else new)


@click.command("diff", short_help="Tell what differs between two models, by module.")
@click.argument("a", metavar="A", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("b", metavar="B", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--select", metavar="SELECTOR", help="Only nodes that it selects in A or in B.")
@click.option("--map", "renamed", type=Renaming(), multiple=True, help="What a module of A is called in B, with all"
              " below it; repeat it.")  # fmt: skip
@click.option("--ignore", type=click.Choice(_IGNORE), multiple=True, help="What does not count; repeat it.")
@click.option("--atol", type=Tolerance(), default=0.0, show_default=True, help="Absolute tolerance of weights.")
@click.option("--rtol", type=Tolerance(), default=0.0, show_default=True, help="Relative tolerance of weights.")
@format_option("table", "json")
@talk_options
def command(
    a: Path,
    b: Path,
    select: str | None,
    renamed: tuple[tuple[str, str], ...],
    ignore: tuple[str, ...],
    atol: float,
    rtol: float,
    fmt: str,
) -> None:
    """Tell what differs between two models, by module.

    Modules are aligned by path, the nodes in them by what they compute, read and feed. Names of nodes and values, their
    order, tags, doc strings and producers are no differences. The exit code is 0 without differences, 1 with some, 2 on
    trouble.

    \b
    Examples:
      modelexport diff before.onnx after.onnx
      modelexport diff before.onnx after.onnx --ignore weights --format json
      modelexport diff before.onnx after.onnx --map encoder.layers=encoder.layer --atol 1e-6
    """
    from modelexport.analysis.difference import diff_models
    from modelexport.passes.pipeline.attributed import attributed_model
    from modelexport.passes.selection import Selector

    chosen = Selector.parse(select) if select is not None else None
    models = [attributed_model(path, partial(_say, path)) for path in (a, b)]
    kinds: Any = ignore
    found = diff_models(*models, select=chosen, rename=dict(renamed), ignore=kinds, atol=atol, rtol=rtol)
    for line in dict.fromkeys(line for model in models for line in model.warnings):
        warn(line)
    if fmt == "json":
        put_json(found.to_dict())
    else:
        put(str(found))
    if not found.identical:
        click.get_current_context().exit(1)


def _say(path: Path, line: str) -> None:
    talk().say(f"{path}: {line}")
