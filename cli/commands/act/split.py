"""``modelexport split``: a model as a chain of stages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelexport.cli.console import put, put_json
from modelexport.cli.options import format_option, talk_options
from modelexport.cli.running_inputs import input_options

if TYPE_CHECKING:
    from modelexport.passes.partition.stages import Chain

_PIPELINE = "pipeline.json"


@click.command("split", short_help="Cut a model into stages that run one after the other.")
@click.argument("model", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--at", metavar="PATH", multiple=True, required=True, help="Module that a stage begins with; repeat it,"
              " in the order in which they run.")  # fmt: skip
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for"
              " the stages; it must not exist, or be empty.")  # fmt: skip
@click.option("--verify", is_flag=True, help="Run whole and stages and compare every value between them bit for bit.")
@click.option("--external-data", type=click.Choice(["copy", "embed"]), default="copy", show_default=True, help="Weights"
              " in files of their own: one file beside each stage, or into the stage.")  # fmt: skip
@click.option("--allow-outside-data", is_flag=True, help="Read data files outside the model's folder.")
@input_options
@format_option("table", "json")
@talk_options
def command(
    model: Path,
    at: tuple[str, ...],
    output: Path,
    verify: bool,
    external_data: str,
    allow_outside_data: bool,
    inputs: Path | None,
    input_shape: tuple[tuple[str, list[int]], ...],
    seed: int,
    fmt: str,
) -> None:
    """Cut a model into stages that run one after the other.

    Stage k holds what depends on the k-th --at module, itself included, and on no later one. pipeline.json says which
    stage makes which value. Running the stages in order gives bit for bit what the whole gives; --verify checks that,
    and writes nothing and exits with 1 where it is not so.

    \b
    Examples:
      modelexport split model.onnx --at head -o stages
      modelexport split model.onnx --at encoder.layers.1 --at head -o stages --verify
    """
    from modelexport.cli.pieces import boundary_text, differs, embed_again, read_whole, say_warnings
    from modelexport.cli.running_inputs import feeds_of
    from modelexport.ir.io.folder import atomic_folder, check_folder
    from modelexport.ir.io.writer import save_model
    from modelexport.passes.partition.stages import split_chain

    check_folder(output)
    whole = read_whole(model)
    chain = split_chain(whole, at)
    document = _document(chain)
    wrong = verify and differs(whole, chain.stages, feeds_of(whole, inputs, input_shape, seed))
    if not wrong:
        embed_again(whole, chain.stages)
        mode: Any = external_data
        with atomic_folder(output) as folder:
            for number, stage in enumerate(chain.stages):
                target = folder / f"stage_{number}.onnx"
                save_model(stage.model, target, external_data=mode, allow_outside_data=allow_outside_data)
            (folder / _PIPELINE).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    say_warnings(whole, *(stage.model for stage in chain.stages))
    if fmt == "json":
        put_json(document)
    else:
        for stage, row in zip(chain.stages, document["stages"], strict=True):
            number = sum(1 for _ in stage.model.nodes())
            put(f"{output / row['file']}: {number} node{'' if number == 1 else 's'}")
            put(f"  inputs:  {boundary_text(row['inputs'])}")
            put(f"  outputs: {boundary_text(row['outputs'])}")
        put(f"{output / _PIPELINE}: {len(chain.stages)} stages")
    if wrong:
        click.get_current_context().exit(1)


def _document(chain: Chain) -> dict[str, Any]:
    """``pipeline.json``; see ``pipeline.schema.json``."""
    from modelexport.passes.partition.extraction import value_row

    stages: list[dict[str, Any]] = []
    for number, (stage, sources) in enumerate(zip(chain.stages, chain.sources, strict=True)):
        graph = stage.model.proto.graph
        weights = stage.model.main.initializers_set
        given = [value for value in graph.input if value.name not in weights]
        stages.append(
            {
                "file": f"stage_{number}.onnx",
                "inputs": [{**value_row(value), "source": sources[value.name]} for value in given],
                "outputs": [value_row(value) for value in graph.output],
            }
        )
    outputs = [{"name": name, "source": source} for name, source in chain.outputs]
    return {"format": "modelexport-pipeline", "schema_version": "1.0", "stages": stages, "outputs": outputs}
