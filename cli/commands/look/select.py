"""``modelexport select``: nodes by the modules they are from, also as other tools read them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelexport.cli.console import fewer_collections, in_parts, put_pieces, report_error, warn
from modelexport.cli.options import talk, talk_options
from modelexport.cli.tables import table

if TYPE_CHECKING:
    from modelexport.core.selection import Selection
    from modelexport.ir.node import Node

_FORMATS = ("names", "modules", "values", "weights", "table", "json", "ort", "olive", "nncf", "modelopt", "aimet",
            "tensorrt", "block-list")  # fmt: skip


@click.command("select", short_help="Select nodes by the modules they are from.")
@click.argument("model", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("selectors", metavar="SELECTOR...", nargs=-1, required=True)
@click.option("--format", "fmt", type=click.Choice(_FORMATS), default="names", show_default=True,
              help="What is printed, or which tool's list of nodes.")  # fmt: skip
@click.option("--include", is_flag=True, help="With ort, olive: nodes to quantise, not those to leave out.")
@click.option("--precision", type=click.Choice(["fp32", "fp16", "int8"]), help="With tensorrt.  [default: fp32]")
@click.option("--count", is_flag=True, help="Print only the number of selected nodes.")
@click.option("--allow-empty", is_flag=True, help="Accept a selector that matches nothing.")
@click.option("-o", "--output", metavar="FILE", help="Write there and not to stdout; '-' is stdout.")
@talk_options
def command(
    model: Path,
    selectors: tuple[str, ...],
    fmt: str,
    include: bool,
    precision: str | None,
    count: bool,
    allow_empty: bool,
    output: str | None,
) -> None:
    """Select nodes by the modules they are from.

    A SELECTOR has terms such as path:encoder.layer.[0-3], class:LayerNorm, op:MatMul or confidence<0.5, joined by and,
    or, not and parentheses; one without a key is a path, and stands for all that is inside. Several are joined by or.
    The exit code is 1 when one of them matches nothing.

    \b
    Examples:
      modelexport select model.onnx 'path:encoder.layer.[0-3]'
      modelexport select model.onnx 'class:LayerNorm or path:head' --format ort
      modelexport select model.onnx 'op:MatMul and not path:encoder.layer.11' --format table
      modelexport select model.onnx 'confidence<0.5' --count
    """
    from modelexport.passes.selection.formats import INCLUDING

    if include and fmt not in INCLUDING:
        raise click.UsageError(f"--include belongs to --format {' and '.join(INCLUDING)}")
    if precision is not None and fmt != "tensorrt":
        raise click.UsageError("--precision belongs to --format tensorrt")
    with fewer_collections():
        code = _select(model, selectors, fmt, include, precision or "fp32", count, allow_empty, output)
    if code:
        click.get_current_context().exit(code)


def _select(
    model: Path,
    selectors: tuple[str, ...],
    fmt: str,
    include: bool,
    precision: str,
    count: bool,
    allow_empty: bool,
    output: str | None,
) -> int:
    from modelexport.core.selection import Selector, select
    from modelexport.ir.errors import NothingSelectedError
    from modelexport.passes.pipeline.attributed import attributed_model

    for text in selectors:
        Selector.parse(text)  # before the model is read
    found = attributed_model(model, talk().say)
    for line in dict.fromkeys(found.warnings):
        warn(line)
    code = 0
    try:
        chosen = select(found, *selectors, allow_empty=allow_empty)
    except NothingSelectedError as error:
        code = report_error(error)
        if fmt != "json" and not count:
            return code
        chosen = select(found, *selectors, allow_empty=True)
    if fmt == "json" and not count:
        from modelexport.passes.selection.formats import document_text

        _put(document_text(chosen, chosen.text), output)
    else:
        text = str(len(chosen)) if count else _text(chosen, fmt, include, precision)
        _put([text] if text else [], output)
    return code


def _text(chosen: Selection, fmt: str, include: bool, precision: str) -> str:
    from modelexport.ir.text import shown
    from modelexport.passes.selection.formats import BY_NAME, LISTS

    if fmt == "table":
        return _table(chosen)
    data = chosen.to(fmt, include=include, precision=precision)
    if fmt in LISTS:
        return "\n".join(shown(each) or "." for each in data)
    if fmt in BY_NAME:
        inner = sum(node.graph.kind != "main" for node in chosen.nodes)
        if inner:
            warn(f"{inner} of {len(chosen)} selected nodes are in bodies or functions; {fmt} looks at the main graph")
    return data if isinstance(data, str) else json.dumps(data, indent=2)


def _table(chosen: Selection) -> str:
    from modelexport.ir.text import shown

    origins: dict[int, tuple[str, str, str]] = {}  # by id: nodes keep their attributions alive
    operators: dict[str, str] = {}

    def row(name: str, node: Node) -> tuple[str, ...]:
        attribution = node.attribution
        about = id(attribution)
        if about not in origins:
            origins[about] = ("", "", "")
            if attribution is not None:
                path = shown(attribution.path) or "."
                origins[about] = (path, str(attribution.source), f"{attribution.confidence:.2f}")
        if node.op_type not in operators:
            operators[node.op_type] = shown(node.op_type)
        return shown(name), operators[node.op_type], *origins[about]

    rows = list(map(row, chosen.names, chosen.nodes))
    return table(("name", "operator", "path", "source", "confidence"), rows, left=4)


def _put(pieces: Iterable[str], output: str | None) -> None:
    """Print, or write to a file, what the pieces are together; nothing for none."""
    if output in (None, "-"):
        put_pieces(pieces)
        return
    from modelexport.ir.io.atomic import atomic_output

    with atomic_output(Path(str(output))) as stream:
        for text in in_parts(pieces):
            stream.write(text.encode("utf-8", "backslashreplace"))
