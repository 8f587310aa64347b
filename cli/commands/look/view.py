"""``modelexport view``: a model as a page, a tree, a graph, or a file for another viewer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelexport.cli.console import fewer_collections, put, put_bytes, warn
from modelexport.cli.options import talk, talk_options
from modelexport.cli.source import check_output

if TYPE_CHECKING:
    from modelexport.views.picture import View

_FORMATS = ("html", "tree", "mermaid", "dot", "graphml", "yed", "model-explorer")
_WITH_DEPTH = ("tree", "mermaid", "dot")


@click.command("view", short_help="Show a model's modules, operators and how they are connected.")
@click.argument("model", type=click.Path(dir_okay=False, path_type=Path))
@click.option("-o", "--output", metavar="FILE", help="Write there; .html .txt .mmd .dot .graphml and .json say what,"
              " '-' is stdout.")  # fmt: skip
@click.option("--format", "fmt", type=click.Choice(_FORMATS), help="What to write.  [default: by the suffix of FILE,"
              " else tree]")  # fmt: skip
@click.option("--depth", type=click.IntRange(min=0), help="Levels of modules in tree, mermaid and dot; the root is 0."
              "  [default: all, in graphs 2]")  # fmt: skip
@click.option("--select", "selector", metavar="SELECTOR", help="Only modules that have nodes of this selector.")
@click.option("--overlay", "overlays", multiple=True, metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
              help="Numbers by node or module, also from cost, profile, compare-values, diff; repeat it.")  # fmt: skip
@click.option("--title", default="", help="What the picture is called.  [default: the name of the file]")
@talk_options
def command(
    model: Path,
    output: str | None,
    fmt: str | None,
    depth: int | None,
    selector: str | None,
    overlays: tuple[Path, ...],
    title: str,
) -> None:
    """Show a model's modules, operators and how they are connected.

    html is a page that opens in any browser, without a server or a network: modules open in place, nodes have all
    details, guesses look like guesses. model-explorer also writes node data files beside FILE. The exit code is 1 when
    nothing in an overlay fits the model.

    \b
    Examples:
      modelexport view model.onnx -o model.html
      modelexport view model.onnx --depth 2
      modelexport view model.onnx -o model.html --overlay profile.json
      modelexport view model.onnx -o part.mmd --select 'path:encoder.layer.0' --depth 4
    """
    from modelexport.views.picture import SUFFIXES

    to_stdout = output in (None, "-")
    form = fmt or ("tree" if output in (None, "-") else SUFFIXES.get(Path(str(output)).suffix.lower()))
    if form is None:
        raise click.UsageError(f"{output}: the suffix is none of {' '.join(SUFFIXES)}: give --format")
    if depth is not None and form not in _WITH_DEPTH:
        raise click.UsageError(f"--depth belongs to --format {', '.join(_WITH_DEPTH)}")
    if not to_stdout:
        check_output(Path(str(output)), model, *overlays)
    with fewer_collections():
        found = _view(model, selector, overlays, title)
        text = found.text(form, depth)
    for line in dict.fromkeys((*found.data.model.warnings, *found.warnings)):
        warn(line)
    if form == "mermaid":
        _warn_of_mermaid(found, 2 if depth is None else depth, text)
    if not to_stdout:
        from modelexport.ir.io.external.external_data import keep_data_of

        keep_data_of(found.data.model, Path(str(output)))
        for path in found.write(Path(str(output)), form, text):
            talk().say(f"wrote {path}")
    elif form == "tree":
        put(text.rstrip("\n"))
    else:
        put_bytes(text.encode("utf-8"))


def _view(model: Path, selector: str | None, overlays: tuple[Path, ...], title: str) -> View:
    from modelexport.ir.errors import InputError, NothingSelectedError
    from modelexport.passes.pipeline.attributed import attributed_model
    from modelexport.passes.selection import Selector
    from modelexport.views.picture import view

    parsed = Selector.parse(selector) if selector is not None else None  # before the model is read
    try:
        return view(attributed_model(model, talk().say), overlays, select=parsed, title=title)
    except NothingSelectedError as error:
        raise InputError(f"--select: {error}") from error


def _warn_of_mermaid(found: View, depth: int, text: str) -> None:
    from modelexport.views.text_graphs import mermaid_warning

    if line := mermaid_warning(found.data, depth, text):
        warn(line)
