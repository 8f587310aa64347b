"""What a writer is: an object that is told of every step, and may leave a file at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from modelexport.frontend.monitor.data import HTPExportData, HTPExportStep

if TYPE_CHECKING:
    from modelexport.frontend.monitor.record import ExportRecord


class StepAwareWriter:
    """Base of all writers. Override the steps you care about; every other one goes to ``on_step``, which does nothing.

    ``data`` is everything known so far, not only what the step brought; it is not to be changed. The methods for
    single steps do not return anything, ``finish`` returns the file it wrote, if it wrote one.
    A writer that raises does not disturb the export: see ``HTPExportMonitor.errors``.
    """

    def start(self, record: ExportRecord) -> None:
        """The monitor is ready; ``record`` also has timings, the outcome and statistics. Called once."""

    def handle(self, step: HTPExportStep, data: HTPExportData) -> None:
        """Call the method of ``step``."""
        handlers: dict[HTPExportStep, Callable[[HTPExportData], None]] = {
            HTPExportStep.MODEL_PREP: self.on_model_prep,
            HTPExportStep.INPUT_GEN: self.on_input_gen,
            HTPExportStep.HIERARCHY: self.on_hierarchy,
            HTPExportStep.TRACE: self.on_trace,
            HTPExportStep.EXPORT: self.on_export,
            HTPExportStep.NODE_TAGGING: self.on_node_tagging,
            HTPExportStep.SAVE: self.on_save,
            HTPExportStep.COMPLETE: self.on_complete,
        }
        handlers[step](data)

    def on_model_prep(self, data: HTPExportData) -> None:
        """The model is loaded and ready."""
        self.on_step(HTPExportStep.MODEL_PREP, data)

    def on_input_gen(self, data: HTPExportData) -> None:
        """The example inputs are there."""
        self.on_step(HTPExportStep.INPUT_GEN, data)

    def on_hierarchy(self, data: HTPExportData) -> None:
        """The module hierarchy is known."""
        self.on_step(HTPExportStep.HIERARCHY, data)

    def on_trace(self, data: HTPExportData) -> None:
        """The forward was traced."""
        self.on_step(HTPExportStep.TRACE, data)

    def on_export(self, data: HTPExportData) -> None:
        """PyTorch made an ONNX graph."""
        self.on_step(HTPExportStep.EXPORT, data)

    def on_node_tagging(self, data: HTPExportData) -> None:
        """Every node has its module."""
        self.on_step(HTPExportStep.NODE_TAGGING, data)

    def on_save(self, data: HTPExportData) -> None:
        """The model is on disk."""
        self.on_step(HTPExportStep.SAVE, data)

    def on_complete(self, data: HTPExportData) -> None:
        """The export is done."""
        self.on_step(HTPExportStep.COMPLETE, data)

    def on_step(self, step: HTPExportStep, data: HTPExportData) -> None:
        """Any step that has no method of its own in the subclass."""

    def on_error(self, step: HTPExportStep, message: str) -> None:
        """A step failed; more steps may follow."""

    def finish(self) -> Path | None:
        """The export is over. Write the file this writer makes, and return its path."""
        return None
