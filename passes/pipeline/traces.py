"""Opening the trace file a run was given, and taking its modules over."""

from __future__ import annotations

from pathlib import Path

from modelexport.ir.io.trace_file import Trace, load_trace
from modelexport.ir.model import Model
from modelexport.passes.pipeline.base import PassContext


def open_trace(option: str, ctx: PassContext) -> Trace | None:
    """The trace a pass option or the run names, else None. Raises InputError for one that can't be read."""
    file = Path(option) if option else ctx.trace
    return load_trace(file) if file is not None else None


def adopt_modules(model: Model, trace: Trace) -> None:
    """Let the model know the trace's modules; those it has read back from its own tags keep their tag."""
    for module in trace.module_table():
        held = model.modules.get(module.path)
        if held is None or not held.tag:
            model.modules.add(module)
