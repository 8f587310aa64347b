"""Twins: the graphs that torch's exporters make of a model, recorded as views of a trace file.

An exported graph holds much that no eager run shows: shape arithmetic, masks that only exist while tracing, the parts
of an operator that ONNX spells out. A foreign graph of the same model has them too, so it is compared with our own
export as well.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from modelexport.frontend.export.exported import Exported
from modelexport.frontend.inputs.example_inputs import Inputs
from modelexport.frontend.torch.copies import copied
from modelexport.ir.arrays import Array
from modelexport.ir.attribution import Attribution, Source
from modelexport.ir.errors import ExportError, InputError, MissingExtraError
from modelexport.ir.model import Model
from modelexport.passes.evidence.values.view_building import ViewBuilder, graph_view
from modelexport.passes.pipeline.base import PassContext
from modelexport.passes.running.graph_values import fit_inputs
from modelexport.passes.scope_attribution import ScopeAttribution

_OPSET = 17


def twin_views(
    model: torch.nn.Module,
    inputs: Inputs,
    examples: Sequence[Mapping[str, Array]],
    kinds: Iterable[str],
    chunk_bytes: int = 256 << 20,
) -> tuple[list[ViewBuilder], dict[str, str]]:
    """(views, problems by exporter): one view for each exporter and example. Copies of the model are exported."""
    views: list[ViewBuilder] = []
    problems: dict[str, str] = {}
    for kind in kinds:
        with tempfile.TemporaryDirectory(prefix="htptrace-") as folder:
            try:
                twin, args, kwargs = copied((model, inputs.args, inputs.kwargs))
                exported = _EXPORTERS[kind](twin, Inputs(args, kwargs, inputs.dynamic_axes), list(examples[0]))
            except (ExportError, InputError, ImportError) as error:
                problems[kind] = str(error)
                continue
            graph = exported.to_model(Path(folder) / "twin.onnx")
            _attribute(graph, exported.paths)
            for number, example in enumerate(examples):
                feeds, unfit = fit_inputs(graph, example)
                try:
                    view, _, report = graph_view(graph, feeds, kind, number, chunk_bytes=chunk_bytes)
                except MissingExtraError as error:
                    problems[f"{kind} values"] = str(error)
                    view, _, report = graph_view(graph, feeds, kind, number, run=False)
                views.append(view)
                if unfit or report.failures:
                    problems[f"{kind} values {number}"] = "; ".join([*unfit, *report.failures])
    return views, problems


def _torchscript(model: torch.nn.Module, inputs: Inputs, names: list[str]) -> Exported:
    from modelexport.frontend.torch.torchscript import export_torchscript

    tensors = [name for name in names if "." not in name]
    options: dict[str, Any] = {"opset_version": _OPSET}
    if len(tensors) == len(names):
        options |= {"input_names": names, "dynamic_axes": {name: {0: f"{name}_0"} for name in names}}
    return export_torchscript(model, inputs, options)


def _dynamo(model: torch.nn.Module, inputs: Inputs, names: list[str]) -> Exported:
    from modelexport.frontend.torch.dynamo import export_dynamo

    options: dict[str, Any] = {"optimize": False}
    if inputs.kwargs and not inputs.args:
        auto = {0: torch.export.Dim.AUTO}
        shapes = {
            name: auto if isinstance(value, torch.Tensor) and value.ndim and value.shape[0] > 1 else None
            for name, value in inputs.kwargs.items()
        }
        if all(value is None or isinstance(value, torch.Tensor) for value in inputs.kwargs.values()):
            options["dynamic_shapes"] = shapes
    elif all(isinstance(value, torch.Tensor) for value in inputs.args):
        options["dynamic_shapes"] = tuple(
            {0: torch.export.Dim.AUTO} if value.ndim and value.shape[0] > 1 else None for value in inputs.args
        )
    return export_dynamo(model, inputs, options)


_EXPORTERS: dict[str, Callable[[torch.nn.Module, Inputs, list[str]], Exported]] = {
    "torchscript": _torchscript,
    "dynamo": _dynamo,
}


def _attribute(graph: Model, paths: Mapping[str, str]) -> None:
    """Give every node the module its exporter recorded, else the one module that all its readers have."""
    if paths:
        shared = {path: Attribution(path, Source.SCOPE, "scope", 1.0, by="twin") for path in set(paths.values())}
        for node in graph.nodes():
            found = next((paths[value] for value in node.outputs if value in paths), None)
            if found is not None:
                node.attribute_to(shared[found])
    else:
        ScopeAttribution().run(graph, PassContext())
    for scope in graph.graphs():
        for node in reversed(scope.nodes):
            if node.attribution is None:
                readers = [r.attribution for value in node.outputs for r in scope.consumers(value)]
                known = {reader.path for reader in readers if reader is not None}
                if len(known) == 1 and None not in readers:
                    node.attribute_to(Attribution(known.pop(), Source.INHERITED, "consumers", 0.9, by="twin"))
