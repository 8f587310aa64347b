"""``modelexport compare-values``: which module computes something else than the reference."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelexport.cli.console import progress, put, put_json, warn
from modelexport.cli.options import format_option, talk, talk_options
from modelexport.cli.parameters import Tolerance
from modelexport.cli.running_inputs import given_inputs, input_options
from modelexport.cli.tables import table

if TYPE_CHECKING:
    from modelexport.analysis.divergence.result import Divergence

_LEVELS = ("disable", "basic", "extended", "all")


@click.command("compare-values", short_help="Find the module that computes something else than the reference.")
@click.argument("reference")
@click.argument("candidate", type=click.Path(dir_okay=False, path_type=Path))
@input_options
@click.option("--rtol", type=Tolerance(), help="Relative error that is no fault.  [default: by the precision of the"
              " candidate's arithmetic]")  # fmt: skip
@click.option("--optimization", type=click.Choice(_LEVELS), default="disable", show_default=True, help="Of the"
              " candidate's run.")  # fmt: skip
@click.option("--provider", default="CPUExecutionProvider", show_default=True, help="That runs the candidate.")
@click.option("--top", type=click.IntRange(min=1), help="Only this many modules, the worst ones.")
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="Of a PyTorch reference: as export's.")
@click.option("--trust-remote-code", is_flag=True, help="Run Python code that a checkpoint brings along.")
@click.option("--allow-pickle", is_flag=True, help="Load weights that are pickles, which can run any code.")
@format_option("table", "json", "selector")
@talk_options
def command(
    reference: str,
    candidate: Path,
    inputs: Path | None,
    input_shape: tuple[tuple[str, list[int]], ...],
    seed: int,
    rtol: float | None,
    optimization: Any,
    provider: str,
    top: int | None,
    config: Path | None,
    trust_remote_code: bool,
    allow_pickle: bool,
    fmt: str,
) -> None:
    """Find the module that computes something else than the reference.

    REFERENCE is an ONNX file, or a PyTorch model as export takes it; CANDIDATE is what was made of it. The candidate
    runs with the reference's values put in: introduced is the error that a module makes itself, accumulated the one of
    a plain run. selector prints the diverging modules for exclude= of the quantisers. The exit code is 1 when a module
    diverges.

    \b
    Examples:
      modelexport compare-values model.onnx optimised.onnx
      modelexport compare-values model.py model.onnx
      modelexport compare-values model.onnx model_int8.onnx --top 10
      modelexport compare-values model.onnx model_int8.onnx --format selector
    """
    shown = progress if sys.stderr.isatty() else None
    common = {"rtol": rtol, "optimization": optimization, "provider": provider, "progress": shown}
    if reference.lower().endswith(".onnx"):
        if config is not None or trust_remote_code or allow_pickle:
            raise click.UsageError("--config, --trust-remote-code and --allow-pickle belong to a PyTorch reference")
        found = _graphs(Path(reference), candidate, inputs, input_shape, seed, common)
    else:
        permissions = {"trust_remote_code": trust_remote_code, "allow_pickle": allow_pickle}
        found = _module(reference, candidate, inputs, input_shape, seed, config, permissions, common)
    for note in found.notes:
        warn(note)
    if fmt == "json":
        document = found.to_dict()
        document["modules"] = document["modules"][:top]
        put_json(document)
    elif fmt == "selector":
        put(found.selector())
    else:
        put(_text(found, top))
    if not found.agree:
        click.get_current_context().exit(1)


def _graphs(
    reference: Path,
    candidate: Path,
    inputs: Path | None,
    input_shape: tuple[tuple[str, list[int]], ...],
    seed: int,
    common: dict[str, Any],
) -> Divergence:
    from modelexport.analysis.divergence.report import compare_values
    from modelexport.cli.reports import open_model

    arrays, shapes = given_inputs(inputs, input_shape)
    models = [open_model(path) for path in (reference, candidate)]
    return compare_values(*models, inputs=arrays, shapes=shapes, seed=seed, **common)


def _module(
    reference: str,
    candidate: Path,
    inputs: Path | None,
    input_shape: tuple[tuple[str, list[int]], ...],
    seed: int,
    config: Path | None,
    permissions: dict[str, bool],
    common: dict[str, Any],
) -> Divergence:
    from modelexport.analysis.divergence.module_outputs import ModuleReference
    from modelexport.analysis.divergence.report import compare_values
    from modelexport.cli.config import load_config
    from modelexport.cli.reports import open_model
    from modelexport.cli.source import open_source
    from modelexport.passes.running.inputs import model_inputs

    arrays, shapes = given_inputs(inputs, input_shape)
    options = load_config(config) if config is not None else {}
    model = open_model(candidate)
    wanted = [info.name for info in model_inputs(model)]
    with talk().around_model_code():
        module, example = open_source(
            reference, input_specs=options.get("input_specs"), input_shape=shapes, **permissions
        )
        from modelexport.frontend.inputs.example_inputs import normalise
        from modelexport.frontend.module_values import named_arrays, run_modules, with_arrays

        call = with_arrays(module, normalise(example, model=module), arrays, wanted)
        feeds = named_arrays(module, call, wanted)
        outputs = ModuleReference(reference)
        add: Callable[..., None] = outputs.add
        run_modules(module, call, add)
    try:
        return compare_values(outputs, model, inputs=feeds, seed=seed, **common)
    finally:
        outputs.close()


def _text(found: Divergence, top: int | None) -> str:
    lines = []
    if found.first is None:
        lines.append(f"they agree: {found.compared_values} values compared, largest error {found.largest_agreeing:.2g}")
    else:
        first = found.first
        lines.append(f"{first.path or '.'} computes something else: {first.value}")
        lines.append(f"error {_short(first.introduced)} introduced, {_short(first.accumulated)} accumulated")
        if len(first.suspects) > 1:
            lines.append(f"suspects: {', '.join(path or '.' for path in first.suspects)}")
        if first.changed_weights:
            lines.append(f"weights that differ: {', '.join(first.changed_weights)}")
        lines.append(f"largest error of the values that agree: {found.largest_agreeing:.2g}")
    if found.not_finite is not None:
        odd = found.not_finite
        also = ", in the reference too" if odd.in_reference else ""
        lines.append(f"{odd.kind} first in {odd.path or '.'}: {odd.value}{also}")
    rows = [
        (row.path or ".", row.status, row.values, *map(_short, (row.introduced, row.accumulated, row.max_abs)))
        for row in found.modules[:top]
    ]
    lines += ["", table(("module", "status", "values", "introduced", "accumulated", "max abs"), rows, left=2)]
    if found.outputs:
        cells = [(output.name, _short(output.error), _short(output.max_abs)) for output in found.outputs]
        lines += ["", table(("output", "error", "max abs"), cells)]
    return "\n".join(lines)


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"
