"""Feeding monitors: what each of the eight steps of an export brings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from modelexport.frontend.inputs.example_inputs import Inputs, tensors_of
from modelexport.frontend.monitor.data import HTPExportStep
from modelexport.frontend.monitor.feed import hierarchy_fields, tagging_fields
from modelexport.frontend.monitor.protocol import Monitor
from modelexport.frontend.trace.naming import ModuleNames
from modelexport.frontend.trace.seen import Seen

if TYPE_CHECKING:
    from modelexport.frontend.settings import Settings
    from modelexport.ir.model import Model


class Steps:
    """The monitors of one export, and the step it is at."""

    def __init__(self, settings: Settings, target: Path) -> None:
        self.monitors: list[Monitor] = []
        self.current = HTPExportStep.MODEL_PREP
        self._own: Any = None
        self._report = settings.report
        self.torch_nn = settings.torch_nn
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

    def finish(self) -> list[str]:
        """Write the report's files, where they were asked for; what could not be written is returned."""
        if self._own is None or not self._report:
            return []
        self._own.finalize()
        return [str(failure) for failure in self._own.errors if failure.during == "finalize"]

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

    def found(self, model: torch.nn.Module) -> None:
        """HIERARCHY: the modules, each with a forward taken as called once until the trace says how often."""
        if self.monitors:
            table = ModuleNames(model).table()
            self.done(HTPExportStep.HIERARCHY, **hierarchy_fields(table, torch_nn=self.torch_nn))

    def traced(self, trace: Seen) -> None:
        """TRACE: how often and in which order the modules were called."""
        if self.monitors:
            fields = hierarchy_fields(trace.modules, calls=trace.calls or None, torch_nn=self.torch_nn)
            fields["operation_trace_length"] = trace.operation_trace_length
            fields["native_op_regions"] = trace.native_op_regions
            self.done(HTPExportStep.TRACE, **fields)

    def tagged(self, model: Model, pipeline: str) -> None:
        """NODE_TAGGING."""
        if self.monitors:
            fields = tagging_fields(model, torch_nn=self.torch_nn)
            self.done(HTPExportStep.NODE_TAGGING, **fields, pipeline=pipeline)


def is_sized(parameter: torch.nn.Parameter) -> bool:
    """Whether the parameter has a shape yet (lazy ones get theirs in the first forward)."""
    return not isinstance(parameter, torch.nn.parameter.UninitializedParameter)
