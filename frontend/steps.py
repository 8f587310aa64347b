"""Feeding monitors: what each of the eight steps of an export brings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from modelexport.frontend.inputs import Inputs, tensors_of
from modelexport.frontend.monitor.data import HTPExportStep, ModuleInfo, NodeInfo

if TYPE_CHECKING:
    from modelexport.frontend.exporter import Settings
    from modelexport.frontend.trace import ModelTrace
    from modelexport.ir.model import Model


class Monitor(Protocol):
    """What an export needs of a monitor; ``HTPExportMonitor`` is one."""

    def log_step(self, step: HTPExportStep, data: Any = None, /, **fields: Any) -> None:
        """``step`` is done; ``fields`` are known since."""

    def log_error(self, step: HTPExportStep, message: str) -> None:
        """``step`` failed."""


class Steps:
    """The monitors of one export, and the step it is at."""

    def __init__(self, settings: Settings, target: Path) -> None:
        self.monitors: list[Monitor] = []
        self.current = HTPExportStep.MODEL_PREP
        self._own: Any = None
        self._report = settings.report
        if settings.verbose or settings.report:
            from modelexport.frontend.monitor.monitor import HTPExportMonitor

            self._own = HTPExportMonitor(target, verbose=settings.verbose)
            self.monitors.append(self._own)
        if settings.monitor is not None:
            self.monitors.append(settings.monitor)

    def done(self, step: HTPExportStep, **fields: Any) -> None:
        """Say that ``step`` is done."""
        for monitor in self.monitors:
            monitor.log_step(step, **fields)
        order = list(HTPExportStep)
        self.current = order[min(order.index(step) + 1, len(order) - 1)]

    def failed(self, error: BaseException) -> None:
        """Say that the step that was being worked on failed."""
        for monitor in self.monitors:
            monitor.log_error(self.current, f"{type(error).__name__}: {error}")

    def finish(self) -> None:
        """Write the report's files, where they were asked for."""
        if self._own is not None and self._report:
            self._own.finalize()

    def prepared(self, model: torch.nn.Module, settings: Settings, target: Path) -> None:
        """MODEL_PREP."""
        if self.monitors:
            self.done(
                HTPExportStep.MODEL_PREP,
                model_name=type(model).__name__,
                model_class=f"{type(model).__module__}.{type(model).__qualname__}",
                total_modules=sum(1 for _ in model.modules()),
                total_parameters=sum(parameter.numel() for parameter in model.parameters() if is_sized(parameter)),
                output_path=str(target),
                embed_hierarchy_attributes=settings.embed,
            )

    def generated(self, inputs: Inputs) -> None:
        """INPUT_GEN."""
        if self.monitors:
            named = {f"args.{i}": value for i, value in enumerate(inputs.args)} | inputs.kwargs
            rows = [
                {"name": name, "dtype": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape)}
                for name, value in named.items()
                for tensor in tensors_of(value)
            ]
            self.done(HTPExportStep.INPUT_GEN, inputs=rows)

    def traced(self, trace: ModelTrace) -> None:
        """HIERARCHY and TRACE."""
        if self.monitors:
            first: dict[str, int] = {}
            for position, path in enumerate(trace.calls):
                first.setdefault(path, position)
            tags = trace.modules.tags()
            modules = {
                module.path: ModuleInfo(
                    path=module.path,
                    class_name=module.class_name,
                    tag=tags[module.path],
                    execution_order=first.get(module.path, -1),
                    parameters=module.parameters,
                    calls=module.calls,
                )
                for module in trace.modules
            }
            self.done(HTPExportStep.HIERARCHY, hierarchy=modules, execution_steps=len(trace.calls))
            self.done(
                HTPExportStep.TRACE,
                operation_trace_length=trace.operation_trace_length,
                native_op_regions=trace.native_op_regions,
            )

    def tagged(self, model: Model, by_source: Mapping[str, int], pipeline: str) -> None:
        """NODE_TAGGING."""
        if self.monitors:
            nodes = dict(node_infos(model))
            total = sum(1 for _ in model.nodes())
            self.done(
                HTPExportStep.NODE_TAGGING,
                total_nodes=total,
                nodes=nodes,
                tagged_nodes={key: info["tag"] for key, info in nodes.items() if info["tag"] is not None},
                tagging_stats=dict(by_source),
                coverage=sum(by_source.values()) / total if total else 1.0,
                pipeline=pipeline,
            )


def node_infos(model: Model) -> Iterator[tuple[str, NodeInfo]]:
    """Every node's key and where it is from."""
    names: dict[str, int] = {}
    for node in model.nodes():
        names[node.name] = names.get(node.name, 0) + 1
    tags = model.modules.tags()
    for graph in model.graphs():
        for position, node in enumerate(graph.nodes):
            unique = node.name and names[node.name] == 1
            key = node.name if unique else f"{graph.scope}#{position}:{node.op_type}"
            found = node.attribution
            if found is None:
                yield key, NodeInfo(tag=None, path=None, source=None, confidence=None)
            else:
                tag = tags.get(found.path) or model.modules.tag(found.path)
                yield key, NodeInfo(tag=tag, path=found.path, source=str(found.source), confidence=found.confidence)


def is_sized(parameter: torch.nn.Parameter) -> bool:
    """Whether the parameter has a shape yet (lazy ones get theirs in the first forward)."""
    return not isinstance(parameter, torch.nn.parameter.UninitializedParameter)
