"""The run of a model that torch's exporters don't make: the eager trace, on a copy of the model and its inputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from modelexport.frontend.inputs.example_inputs import Inputs
from modelexport.frontend.torch.copies import copied


@dataclass(slots=True)
class Apart:
    """Model and inputs as they were before the export, for a run of our own."""

    model: torch.nn.Module
    inputs: Inputs

    def write(self, folder: Path) -> Path:
        """The trace file, for value-attribution. Raises ExportError."""
        from modelexport.frontend.trace.value_trace import write_trace

        return write_trace(self.model, self.inputs, folder / "example.htptrace", twins=(), apart=True)


def set_apart(model: torch.nn.Module, inputs: Inputs) -> Apart:
    """Copy both. Raises ExportError where that can't be done."""
    model, args, kwargs = copied((model, inputs.args, inputs.kwargs))
    return Apart(model, Inputs(args, kwargs, inputs.dynamic_axes))
