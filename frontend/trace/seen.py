"""What was seen of a model while it was exported, in the terms of results and monitors."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch

from modelexport.frontend.trace.naming import ModuleNames, has_forward
from modelexport.frontend.trace.watching import Watch
from modelexport.ir.modules import ModuleTable


@dataclass(frozen=True, slots=True)
class Seen:
    """What one export showed.

    Attributes:
        modules: every module of the model; containers that are never called have ``calls`` 0.
        calls: path of each module call, in the order the calls began.
        operation_trace_length: number of operators that the exporter recorded while it ran the model.
        native_op_regions: number of maximal runs of consecutive operators inside one module call.
    """

    modules: ModuleTable
    calls: tuple[str, ...] = ()
    operation_trace_length: int = 0
    native_op_regions: int = 0


def unwatched(model: torch.nn.Module) -> Seen:
    """The modules alone: what has a forward of its own counts as called."""
    return Seen(ModuleNames(model).table())


def seen(model: torch.nn.Module, watch: Watch) -> Seen:
    """The modules as they were called.

    Modules may run where nobody can watch: where dynamo compiled a part of the model, or all of it. Then those that
    were not seen called count as called once if they have a forward.
    """
    names = ModuleNames(model)
    calls = tuple(call.path for call in watch.calls if call.named)
    counts = dict(Counter(calls))
    if watch.stepped_aside or not calls:
        for module, (first, *others) in names.paths.items():
            if has_forward(module) and not any(name in counts for name in (first, *others)):
                counts[first] = 1
    return Seen(names.table(counts), calls, watch.operation_trace_length, watch.native_op_regions)
