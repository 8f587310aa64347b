"""``modelexport demo``: something to look at without having a model."""

from __future__ import annotations

from pathlib import Path

import click

from modelexport.cli.console import put, put_json
from modelexport.cli.options import format_option, talk, talk_options
from modelexport.cli.source import require_torch
from modelexport.cli.tables import summary_text


@click.command("demo", short_help="Export a small built-in transformer and show its modules.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path("modelexport-demo"))
@click.option("--exporter", type=click.Choice(["auto", "torchscript", "dynamo"]), default="auto", show_default=True)
@format_option("table", "json")
@talk_options
def command(folder: Path, exporter: str, fmt: str) -> None:
    """Export a small built-in transformer and show its modules.

    The files go to FOLDER [modelexport-demo]; one is a page to look at in a browser.

    \b
    Examples:
      modelexport demo
      modelexport demo elsewhere --exporter dynamo
    """
    from modelexport.cli.commands.look.analyze import summarize

    require_torch()
    from modelexport.frontend.inputs.demo import run_demo
    from modelexport.views.picture import view

    talk().say(f"exporting demo:transformer to {folder}")
    with talk().around_model_code():
        result = run_demo(folder, exporter=exporter)
    model = Path(result["output_path"])
    page = model.with_suffix(".html")
    view(model).save(page)
    summary = summarize(model)
    if fmt == "json":
        put_json(summary)
        return
    put(summary_text(summary))
    put(f"\nmodel    {result['output_path']}\nsidecar  {result['sidecar_path']}\npage     {page.absolute().as_uri()}")
    put(f"\nNext: modelexport analyze {result['output_path']} --filter-tag '*/Block.0/*'")
