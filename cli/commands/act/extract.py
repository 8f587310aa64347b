"""``modelexport extract``: modules as a model of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modelexport.cli.console import put, put_json
from modelexport.cli.options import format_option, talk_options
from modelexport.cli.parameters import ParamType
from modelexport.cli.running_inputs import input_options


class CallNumber(ParamType[Any]):
    """A number from 1, or ``all``."""

    name = "N|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "all" or isinstance(value, int):
            return value
        if not str(value).isdecimal() or not int(value):
            self.fail(f"{value!r}: a call is a number from 1, or all", param, ctx)
        return int(value)


@click.command("extract", short_help="Write modules as a model of their own.")
@click.argument("model", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The piece.")
@click.option("--call", type=CallNumber(), help="Which call of a module that runs several times, from 1; or all.")
@click.option("--verify", is_flag=True, help="Run whole and piece and compare every boundary value bit for bit.")
@click.option("--external-data", type=click.Choice(["copy", "embed"]), default="copy", show_default=True, help="Weights"
              " in files of their own: into OUTPUT.data, or into the model.")  # fmt: skip
@click.option("--allow-outside-data", is_flag=True, help="Read data files outside the model's folder.")
@input_options
@format_option("table", "json")
@talk_options
def command(
    model: Path,
    paths: tuple[str, ...],
    output: Path,
    call: Any,
    verify: bool,
    external_data: str,
    allow_outside_data: bool,
    inputs: Path | None,
    input_shape: tuple[tuple[str, list[int]], ...],
    seed: int,
    fmt: str,
) -> None:
    """Write modules as a model of their own.

    A PATH is a module's dotted path, a single dot the root. Operators that lie between the modules come along,
    constants are copied, values that cross the boundary keep their names. --verify runs both models, on --inputs or on
    generated ones; the exit code is 1 when a value differs, and nothing is written then.

    \b
    Examples:
      modelexport extract model.onnx encoder -o encoder.onnx
      modelexport extract model.onnx encoder.layers.0 head -o part.onnx --verify
    """
    from modelexport.cli.pieces import boundary_text, differs, embed_again, read_whole, say_warnings
    from modelexport.cli.running_inputs import feeds_of
    from modelexport.cli.source import check_output
    from modelexport.ir.io.writer import save_model
    from modelexport.passes.partition.extraction import extract_piece, value_row

    check_output(output, model, inputs)
    whole = read_whole(model)
    piece = extract_piece(whole, paths, call=call)
    wrong = verify and differs(whole, [piece], feeds_of(whole, inputs, input_shape, seed))
    if not wrong:
        embed_again(whole, [piece])
        mode: Any = external_data
        save_model(piece.model, output, external_data=mode, allow_outside_data=allow_outside_data)
    proto = piece.model.proto.graph
    weights = set(piece.model.main.initializers)
    found: dict[str, Any] = {
        "format": "modelexport-extract",
        "schema_version": "1.0",
        "output": str(output),
        "paths": list(paths),
        "call": call,
        "nodes": sum(1 for _ in piece.model.nodes()),
        "absorbed": _labels(piece.cut.absorbed),
        "inputs": [value_row(value) for value in proto.input if value.name not in weights],
        "outputs": [value_row(value) for value in proto.output],
        **_weights(piece.model, allow_outside_data),
    }
    say_warnings(whole, piece.model)
    if fmt == "json":
        put_json(found)
    else:
        counts = (f"{found[key]} {key[:-1]}{'' if found[key] == 1 else 's'}" for key in ("nodes", "weights"))
        put(f"{output}: {', '.join(counts)} ({found['weight_bytes']:,} bytes)")
        if found["absorbed"]:
            put(f"came along, between the modules: {', '.join(found['absorbed'])}")
        put(f"inputs:  {boundary_text(found['inputs'])}")
        put(f"outputs: {boundary_text(found['outputs'])}")
    if wrong:
        click.get_current_context().exit(1)


def _labels(nodes: Any) -> list[str]:
    from modelexport.ir.identity.keys import node_keys

    wanted = set(nodes)
    if not wanted:
        return []
    model = next(iter(wanted)).graph.model
    return [key for key, node in node_keys(model) if node in wanted]


def _weights(piece: Any, allow_outside_data: bool) -> dict[str, int]:
    """Number and bytes of the tensors that the piece has as initializers."""
    from modelexport.ir.io.weights import tensor_bytes

    graph = piece.proto.graph
    tensors = [
        *graph.initializer,
        *(part for sparse in graph.sparse_initializer for part in (sparse.values, sparse.indices)),
    ]
    return {"weights": len(piece.main.initializers), "weight_bytes": sum(map(tensor_bytes, tensors))}
