"""``modelexport retag``: the short form of ``htp-opt AFTER -o OUT --reference BEFORE``."""

from __future__ import annotations

from pathlib import Path

import click

from modelexport.cli.options import format_option, talk, talk_options


@click.command("retag", short_help="Carry tags from a model to its optimised version.")
@click.argument("before", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("after", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The tagged model."
)
@click.option("--sidecar/--no-sidecar", default=True, show_default=True, help="Write OUTPUT's sidecar beside it.")
@click.option("--in-place", is_flag=True, help="Let OUTPUT be AFTER itself.")
@format_option("table", "json")
@talk_options
def command(before: Path, after: Path, output: Path, sidecar: bool, in_place: bool, fmt: str) -> int:
    """Carry tags from a model to its optimised version.

    BEFORE is a tagged model, its sidecar, or an untagged model whose names still tell; AFTER is what an optimiser made
    of it. A node is found by its name, then by its outputs; the others get the module of their neighbours.

    \b
    Examples:
      modelexport retag model.onnx optimised.onnx -o tagged.onnx
      modelexport retag model_hierarchy.json optimised.onnx -o tagged.onnx --format json
    """
    from modelexport.cli.htp_opt import cli

    if output.exists() and after.exists() and output.samefile(after) and not in_place:
        from modelexport.ir.errors import OutputError

        raise OutputError(f"{output}: is an input; --in-place allows to write over it")
    settings = talk()
    code = click.get_current_context().invoke(
        cli,
        input=str(after),
        output=str(output),
        reference=str(before),
        sidecar=sidecar,
        in_place=in_place,
        report=fmt,
        verbose=int(settings.verbose),
        debug=settings.debug,
    )
    return int(code)
