"""``modelexport profile``: time by module, from onnxruntime's or TensorRT's profile."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from modelexport.cli.console import progress, put, put_json, warn
from modelexport.cli.options import format_option, talk_options
from modelexport.cli.reports import (
    chosen_rows,
    csv_text,
    open_model,
    tree_options,
    tree_table,
)
from modelexport.cli.running_inputs import given_inputs, input_options
from modelexport.cli.source import check_output
from modelexport.cli.tables import table

if TYPE_CHECKING:
    from modelexport.analysis.module_rows import ModuleRow
    from modelexport.analysis.profiling.report import NodeTime, ProfileReport

_LEVELS = ("disable", "basic", "extended", "all")
_NODE = ("node", "op_type", "path", "us", "provider", "source", "confidence")
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("profile", short_help="Measure the time of each module, or read it from a profile.")
@click.argument("model", type=_FILE)
@input_options
@click.option("--runs", type=click.IntRange(min=1), default=20, show_default=True, help="Runs that count.")
@click.option("--warmup", type=click.IntRange(min=0), default=5, show_default=True, help="Runs before them.")
@click.option("--optimization", type=click.Choice(_LEVELS), default="all", show_default=True,
              help="onnxruntime's level; with --profile that of the run that was recorded.")  # fmt: skip
@click.option("--provider", "providers", metavar="NAME", multiple=True, help="Execution provider; repeat it, the"
              " preferred one first.")  # fmt: skip
@click.option("--threads", type=click.IntRange(min=0), default=0, show_default=True,
              help="Threads inside an operator; 0 leaves it to onnxruntime.")  # fmt: skip
@click.option("--save-profile", metavar="FILE", type=_FILE, help="Keep onnxruntime's own profile there.")
@click.option("--profile", "recorded", metavar="FILE", type=_FILE,
              help="Read this profile of onnxruntime or trtexec, and run nothing.")  # fmt: skip
@click.option("--layer-info", metavar="FILE", type=_FILE, help="trtexec's --exportLayerInfo of the same engine.")
@click.option("--speedscope", metavar="FILE", type=_FILE, help="Write a flame graph for speedscope.")
@click.option("--chrome-trace", metavar="FILE", type=_FILE, help="Write one run as trace events, for Perfetto.")
@click.option("--by", type=click.Choice(["module", "op", "node", "provider"]), default="module", show_default=True,
              help="What is listed.")  # fmt: skip
@tree_options
@format_option("table", "json", "csv")
@talk_options
def command(
    model: Path,
    inputs: Path | None,
    input_shape: tuple[tuple[str, list[int]], ...],
    seed: int,
    runs: int,
    warmup: int,
    optimization: str,
    providers: tuple[str, ...],
    threads: int,
    save_profile: Path | None,
    recorded: Path | None,
    layer_info: Path | None,
    speedscope: Path | None,
    chrome_trace: Path | None,
    by: str,
    depth: int | None,
    top: int | None,
    fmt: str,
) -> None:
    """Measure the time of each module, or read it from a profile.

    MODEL runs in onnxruntime, or is the model that was run when the profile was recorded. Times are microseconds of one
    run, medians over the runs. csv has one line per node.

    \b
    Examples:
      modelexport profile model.onnx --depth 2
      modelexport profile model.onnx --runs 50 --top 10
      modelexport profile model.onnx --optimization disable --by op
      modelexport profile model.onnx --speedscope flame.json --chrome-trace trace.json
      modelexport profile model.onnx --profile onnxruntime_profile.json
      modelexport profile model.onnx --profile times.json --layer-info layers.json
    """
    if recorded is None and layer_info is not None:
        raise click.UsageError("--layer-info belongs to --profile")
    own = {"--inputs": inputs, "--input-shape": input_shape, "--save-profile": save_profile,
           "--provider": providers}  # fmt: skip
    if recorded is not None and (given := [name for name, value in own.items() if value]):
        raise click.UsageError(f"{given[0]} has no use with --profile, which runs nothing")
    outputs = [path for path in (save_profile, speedscope, chrome_trace) if path is not None]
    for path in outputs:
        check_output(path, model, inputs, recorded, layer_info)
    if len({path.absolute() for path in outputs}) < len(outputs):
        raise click.UsageError("two outputs are the same file")
    from modelexport.analysis.profiling.report import profile
    from modelexport.ir.io.external.external_data import keep_data_of

    whole = open_model(model)
    for path in outputs:
        keep_data_of(whole, path)
    arrays, shapes = given_inputs(inputs, input_shape)
    report = profile(
        whole,
        arrays,
        shapes=shapes,
        runs=runs,
        warmup=warmup,
        optimization=next(level for level in _levels() if level == optimization),
        providers=providers,
        threads=threads,
        seed=seed,
        recorded=recorded,
        layer_info=layer_info,
        save_profile=save_profile,
        progress=progress if sys.stderr.isatty() else None,
    )
    if speedscope is not None:
        _write(speedscope, report.speedscope())
    if chrome_trace is not None:
        _write(chrome_trace, report.chrome_trace())
    _say_warnings(report)
    rows = chosen_rows(report.modules, None if by != "module" or fmt != "table" else "us", depth, top, "us")
    nodes = list(report.nodes) if top is None else sorted(report.nodes, key=lambda node: -node.us)[:top]
    if fmt == "json":
        put_json(report.to_dict(modules=rows, nodes=nodes if by == "node" else None))
    elif fmt == "csv":
        put(csv_text(_NODE, map(_cells, nodes)))
    else:
        put(f"{_headline(report)}\n\n{_text(report, by, rows, nodes, flat=top is not None)}")


def _levels() -> tuple[Any, ...]:
    from modelexport.passes.running.session import Optimization

    return get_args(Optimization)


def _write(path: Path, document: Mapping[str, Any]) -> None:
    from modelexport.ir.io.atomic import atomic_output

    with atomic_output(path) as stream:
        stream.write(json.dumps(document).encode("ascii"))


def _say_warnings(report: ProfileReport) -> None:
    for line in report.warnings:
        warn(line)
    lost = [node for node in report.nodes if node.path is None]
    if lost:
        share = report.share(sum(node.us for node in lost))
        part = "" if share is None else f", {share:.1%} of the time,"
        warn(f"{len(lost)} node{'' if len(lost) == 1 else 's'}{part} of no known module: counted for the root")


def _cells(node: NodeTime) -> tuple[Any, ...]:
    return node.node, node.op_type, node.path, node.us, node.provider, node.source, node.confidence


def _headline(report: ProfileReport) -> str:
    run, parts = report.run_us, []
    if run["median"] is not None:
        parts.append(
            f"a run takes {run['median']:,} us (median of {report.runs}; least {run['min']:,}, 90% {run['p90']:,})"
        )
    parts.append(f"its nodes {report.node_us:,} us")
    if report.attributed_share is not None:
        parts.append(f"{report.attributed_share:.1%} of it attributed")
    runtime = report.runtime
    version = f" {runtime['version']}" if runtime["version"] else ""
    level = f", optimisation {runtime['optimization']}" if runtime["optimization"] else ""
    return f"{report.model_path}: {report.source}{version}{level}\n{', '.join(parts)}"


def _text(report: ProfileReport, by: str, rows: list[ModuleRow], nodes: list[NodeTime], *, flat: bool) -> str:
    if by == "op":
        return _by_operator(report)
    if by == "node":
        lines = [
            (n.node, n.op_type, "(unknown)" if n.path is None else n.path or ".", n.source or "",
             "" if n.confidence is None else f"{n.confidence:.2f}", f"{n.us:,}", _percent(report, n.us))
            for n in nodes
        ]  # fmt: skip
        return table(("node", "operator", "module", "source", "confidence", "us", "share"), lines, left=4)
    if by == "provider":
        names = report.providers
        header = (*(name.removesuffix("ExecutionProvider") or "(unknown)" for name in names), "us", "share")

        def by_provider(row: ModuleRow) -> list[object]:
            times = [f"{_short(row.total[f'us:{name}'])}" for name in names]
            return [*times, _short(row.total["us"]), _percent(report, row.total["us"])]

        return tree_table(rows, header, by_provider, flat=flat)

    def cells(row: ModuleRow) -> tuple[object, ...]:
        own, total = row.own["us"], row.total["us"]
        return int(row.own["nodes"]), _short(own), _percent(report, own), _short(total), _percent(report, total)

    tree = tree_table(rows, ("nodes", "own us", "own share", "us", "share"), cells, flat=flat)
    median = report.run_us["median"]
    if median is None or flat:
        return tree
    return f"{tree}\n\n(runtime) {_short(median - float(report.node_us))} us between nodes"


def _by_operator(report: ProfileReport) -> str:
    times: dict[str, list[float]] = {}
    for node in report.nodes:
        times.setdefault(node.op_type or "(unknown)", []).append(node.us)
    ordered = sorted(times.items(), key=lambda item: -sum(item[1]))
    lines = [(name, len(each), _short(sum(each)), _percent(report, sum(each))) for name, each in ordered]
    return table(("operator", "nodes", "us", "share"), lines)


def _short(us: float) -> str:
    return f"{us:,.0f}" if us == int(us) else f"{us:,.1f}"


def _percent(report: ProfileReport, us: float) -> str:
    share = report.share(us)
    return "" if share is None else f"{share:.1%}"
