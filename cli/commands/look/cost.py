"""``modelexport cost``: multiply-accumulates, parameters and bytes by module."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelexport.cli.console import put, put_json, warn
from modelexport.cli.options import format_option, talk_options
from modelexport.cli.reports import (
    chosen_rows,
    csv_text,
    open_model,
    tree_options,
    tree_table,
)
from modelexport.cli.running_inputs import given_inputs, input_options
from modelexport.cli.tables import table

if TYPE_CHECKING:
    from modelexport.analysis.costing.report import CostReport, NodeCost
    from modelexport.analysis.module_rows import ModuleRow

_SORTS = ("path", "macs", "parameters", "activation_bytes")
_NODE = ("node", "op_type", "path", "macs", "charged_to")
_SHAPES = {"static": "stated by the file", "inferred": "inferred", "run": "seen in a run"}


@click.command("cost", short_help="Count multiply-accumulates, parameters and bytes by module.")
@click.argument("model", type=click.Path(dir_okay=False, path_type=Path))
@input_options
@click.option("--no-run", is_flag=True, help="Never run the model to see shapes that the file doesn't tell.")
@click.option("--by", type=click.Choice(["module", "op", "node"]), default="module", show_default=True,
              help="What is listed.")  # fmt: skip
@tree_options
@click.option("--sort", type=click.Choice(_SORTS), default="path", show_default=True, help="Order of siblings.")
@format_option("table", "json", "csv")
@talk_options
def command(
    model: Path,
    inputs: Path | None,
    input_shape: tuple[tuple[str, list[int]], ...],
    seed: int,
    no_run: bool,
    by: str,
    depth: int | None,
    top: int | None,
    sort: str,
    fmt: str,
) -> None:
    """Count multiply-accumulates, parameters and bytes by module.

    The numbers are of one run with the given inputs. What is not known is never 0: it is listed, and totals above it
    are marked as lower bounds. csv has one line per node.

    \b
    Examples:
      modelexport cost model.onnx --depth 2
      modelexport cost model.onnx --input-shape input_ids:1,128 --sort macs
      modelexport cost model.onnx --by op
      modelexport cost model.onnx --top 10
      modelexport cost model.onnx --by node --format json
    """
    from modelexport.analysis.costing.report import cost

    arrays, shapes = given_inputs(inputs, input_shape)
    report = cost(open_model(model), arrays, shapes=shapes, run=not no_run, seed=seed)
    for note in report.notes:
        warn(note)
    if report.unknown:
        number = len(report.unknown)
        warn(f"the work of {number} node{'' if number == 1 else 's'} is not known: totals with >= are lower bounds")
    rows = chosen_rows(report.modules, None if sort == "path" else sort, depth, top, "macs" if sort == "path" else sort)
    nodes = _nodes(report, sort, top)
    if fmt == "json":
        document = report.to_dict(nodes=by == "node", modules=rows)
        if by == "node":
            document["nodes"] = [dict(zip(_NODE, _cells(node), strict=True)) for node in nodes]
        put_json(document)
    elif fmt == "csv":
        put(csv_text(_NODE, map(_cells, nodes)))
    else:
        put(_text(report, by, rows, nodes, flat=top is not None))


def _nodes(report: CostReport, sort: str, top: int | None) -> list[NodeCost]:
    nodes = list(report.nodes)
    if sort == "macs" or top is not None:
        nodes.sort(key=lambda node: -(node.macs or 0))
    return nodes[:top]


def _cells(node: NodeCost) -> tuple[Any, ...]:
    return node.node, node.op_type, node.path, node.macs, node.charged_to


def _text(report: CostReport, by: str, rows: list[ModuleRow], nodes: list[NodeCost], *, flat: bool) -> str:
    if by == "op":
        listed = [(name, each["nodes"], each["macs"]) for name, each in report.operations.items()]
        return f"{_headline(report)}\n\n{table(('operator', 'nodes', 'macs'), listed)}"
    if by == "node":
        lines = [
            (n.node, n.op_type, n.path or ".", "" if n.charged_to is None else n.charged_to or ".", _number(n.macs))
            for n in nodes
        ]
        return f"{_headline(report)}\n\n{table(('node', 'operator', 'module', 'charged to', 'macs'), lines, left=4)}"
    header = ("own macs", "macs", "share", "parameters", "weight bytes", "activation bytes")
    whole = report.total["macs"]

    def cells(row: ModuleRow) -> tuple[object, ...]:
        bound = ">=" if row.partial else ""
        total = row.total
        share = f"{total['macs'] / whole:.1%}" if whole else ""
        return (
            int(row.own["macs"]),
            f"{bound}{int(total['macs']):,}",
            share,
            int(total["parameters"]),
            int(total["weight_bytes"]),
            f"{bound}{int(total['activation_bytes']):,}",
        )

    return f"{_headline(report)}\n\n{tree_table(rows, header, cells, flat=flat)}"


def _headline(report: CostReport) -> str:
    bound = ">=" if report.unknown else ""
    total = report.total
    inputs = ", ".join(f"{name} {list(dims)}" for name, dims in report.inputs.items())
    macs, flops = (f"{bound}{int(total[name]):,}" for name in ("macs", "flops"))
    return (
        f"{report.model_path}: {macs} multiply-accumulates ({flops} FLOPs), {int(total['parameters']):,} parameters\n"
        f"shapes {_SHAPES[report.shapes]}, for {inputs or 'no inputs'}"
    )


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"
