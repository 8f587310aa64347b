"""``modelexport trace``: what a model computes in each module, for graphs whose names and metadata are gone."""

from __future__ import annotations

from pathlib import Path

import click

from modelexport.cli.console import put
from modelexport.cli.options import talk, talk_options
from modelexport.cli.source import check_output, open_source, shapes_of, source_options


@click.command("trace", short_help="Record a model's modules and values, for htp-opt --trace.")
@source_options
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="FILE.htptrace")
@talk_options
def command(
    model: str,
    config: Path | None,
    input_shape: tuple[tuple[str, list[int]], ...],
    trust_remote_code: bool,
    allow_pickle: bool,
    output: Path,
) -> None:
    """Record a model's modules and values, for htp-opt --trace.

    MODEL and its inputs are given as to export; a factory may return a model or a (model, inputs) pair. The file has
    fingerprints of what each operator computes, not the values and not the weights.

    \b
    Examples:
      modelexport trace model.py -o model.htptrace
      htp-opt optimised.onnx -o tagged.onnx --trace model.htptrace
    """
    from modelexport.cli.config import load_config

    check_output(output, model, config)
    options = load_config(config) if config is not None else {}
    talk().say(f"loading {model}")
    with talk().around_model_code():
        module, inputs = open_source(
            model,
            input_specs=options.get("input_specs"),
            input_shape=shapes_of(input_shape),
            trust_remote_code=trust_remote_code,
            allow_pickle=allow_pickle,
        )
        from modelexport.frontend.trace.value_trace import write_trace

        talk().say(f"running {type(module).__name__}")
        written = write_trace(module, inputs, output)
    put(f"{written}: {written.stat().st_size / 1024:.0f} KB")
