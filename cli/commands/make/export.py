"""``modelexport export``: from a PyTorch model to a tagged ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from modelexport.cli.console import put, put_json, warn
from modelexport.cli.options import format_option, talk, talk_options
from modelexport.cli.source import Shapes, check_output, open_source, shapes_of, source_options
from modelexport.cli.tables import source_table


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """One export.

    Attributes:
        model: MODEL as on the command line.
        output: the ONNX file.
        options: keys of ``config.schema.json``.
        input_shape: shapes by input.
        trust_remote_code, allow_pickle: what may run while the model is loaded.
    """

    model: str
    output: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    input_shape: Shapes = field(default_factory=dict)
    trust_remote_code: bool = False
    allow_pickle: bool = False

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ExportRequest:
        """The request that ``values`` describe."""
        given = dict(values)
        return cls(output=Path(given.pop("output")), **given)


def run_export(request: ExportRequest) -> dict[str, Any]:
    """Load, export and report. Raises ModelExportError."""
    from modelexport.unified_export import EXPORTER_OPTIONS, UnifiedExporter

    options = dict(request.options)
    check_output(request.output, request.model)
    specs = options.pop("input_specs", None)
    talk().say(f"loading {request.model}")
    try:
        with talk().around_model_code():
            model, inputs = open_source(
                request.model,
                input_specs=specs,
                input_shape=request.input_shape,
                trust_remote_code=request.trust_remote_code,
                allow_pickle=request.allow_pickle,
            )
    except BaseException as error:
        if options.get("report"):
            _report_failure(request, error)
        raise
    if inputs.dynamic_axes:
        from modelexport.frontend.inputs.binding import onnx_names

        names = onnx_names(inputs, options.get("input_names"))
        named_axes = {names.get(name, name): axes for name, axes in inputs.dynamic_axes.items()}
    else:
        named_axes = {}
    axes = {**named_axes, **options.pop("dynamic_axes", {})}
    if axes:
        options["dynamic_axes"] = axes
    if "training" in options:
        from modelexport.frontend.inputs.options import training_mode

        options["training"] = training_mode(options["training"])
    exporter = UnifiedExporter(
        options.pop("strategy", "auto"),
        options.pop("enable_performance_monitoring", False),
        optimize=options.pop("optimize", False),
        verbose=talk().verbose,
        **{key: options.pop(key) for key in EXPORTER_OPTIONS if key in options},
    )
    talk().say(f"exporting {type(model).__name__} to {request.output}")
    with talk().around_model_code():
        return exporter.export(model, inputs, request.output, **options)


def _report_failure(request: ExportRequest, error: BaseException) -> None:
    """Write the monitor's files for an export that had no model to begin with."""
    from modelexport.strategies.htp.export_monitor import HTPExportMonitor, HTPExportStep

    monitor = HTPExportMonitor(request.output, Path(request.model).name, verbose=False)
    monitor.log_error(HTPExportStep.MODEL_PREP, error)
    monitor.finalize()


@click.command("export", short_help="Export a PyTorch model to ONNX with a module tag on every node.")
@source_options
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--strategy", type=click.Choice(["auto", "htp", "usage_based"]), help="How tags are found [auto].")
@click.option("--exporter", type=click.Choice(["auto", "torchscript", "dynamo"]), help="torch's exporter [auto].")
@click.option("--opset-version", type=click.IntRange(7, 99), help="ONNX opset [torch's default].")
@click.option("--torch-nn/--no-torch-nn", default=None, help="Keep torch.nn levels in tags [keep].")
@click.option("--report/--no-report", default=None, help="Also write the monitor's metadata, report and log.")
@click.option("--optimize/--no-optimize", default=None, help="Fold and merge constants; tags are kept.")
@click.option("--external-data/--no-external-data", default=None, help="Weights in a file of their own.")
@format_option("table", "json")
@talk_options
def command(
    model: str,
    output: Path,
    config: Path | None,
    input_shape: tuple[tuple[str, list[int]], ...],
    trust_remote_code: bool,
    allow_pickle: bool,
    fmt: str,
    **given: Any,
) -> None:
    """Export a PyTorch model to ONNX with a module tag on every node.

    MODEL is a Python file (model.py, or model.py:factory), an importable pkg.module:callable, a checkpoint folder or
    hub id (transformers), or demo:transformer. In a file the model is get_model(), build_model(), create_model(),
    model, or the only nn.Module subclass without arguments; its inputs are get_example_inputs(), get_inputs(),
    example_inputs or inputs. Otherwise give --input-shape, or input_specs in --config. The sidecar
    <stem>_hierarchy.json goes beside OUTPUT.

    \b
    Examples:
      modelexport export model.py model.onnx
      modelexport export model.py:build model.onnx --input-shape image:1,3,224,224
      modelexport export ./checkpoint model.onnx --opset-version 17 --config export.toml
      modelexport export demo:transformer model.onnx --format json
    """
    from modelexport.cli.config import load_config

    options = load_config(config) if config is not None else {}
    options.update((key, value) for key, value in given.items() if value is not None)
    report = run_export(ExportRequest(model, output, options, shapes_of(input_shape), trust_remote_code, allow_pickle))
    for line in report["warnings"]:
        warn(line)
    if fmt == "json":
        put_json(report)
    else:
        _show(report)


def _show(report: Mapping[str, Any]) -> None:
    selection = report["strategy_selection"]
    put(f"{report['output_path']}: {report['tagged_operations']} of {report['total_operations']} nodes tagged")
    put(f"strategy {report['summary']['final_strategy']} ({selection['reasoning']}), exporter {report['exporter']}, "
        f"opset {report['opset_version']}")  # fmt: skip
    if report.get("sidecar_path"):
        put(f"sidecar {report['sidecar_path']}")
    if report["optimizations_applied"]:
        put(f"optimized by {', '.join(report['optimizations_applied'])}")
    put("\n" + source_table(report))
