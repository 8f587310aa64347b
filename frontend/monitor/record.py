"""What happened so far: the data, and for each step its time, memory and errors."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from modelexport.frontend.monitor.config import MonitorConfig
from modelexport.frontend.monitor.data import HTPExportData, HTPExportStep
from modelexport.frontend.monitor.files import CONSOLE_LOG, METADATA, REPORT
from modelexport.frontend.monitor.screen.view import View
from modelexport.frontend.monitor.spelling import spelled
from modelexport.ir.errors import OutputError


@dataclass(slots=True)
class StepRecord:
    """One step: done or failed, seconds since the step before it, resident memory in MB when it ended."""

    step: HTPExportStep
    seconds: float = 0.0
    memory_mb: int = 0
    done: bool = False
    errors: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        """``failed``, ``done`` or ``not run``."""
        return "failed" if self.errors else "done" if self.done else "not run"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the export ended. ``status`` is ``success``, ``failed`` or, while COMPLETE is missing, ``incomplete``.

    ``step`` is the failed step, else the last one that was logged; ``error`` says why it failed.
    """

    status: str
    step: HTPExportStep | None
    error: str | None


@dataclass(frozen=True, slots=True)
class WriterFailure:
    """A writer raised: which one, while it was told of what, and the exception."""

    writer: str
    during: str
    error: Exception

    def __str__(self) -> str:
        return f"{self.writer} failed during {self.during}: {type(self.error).__name__}: {spelled(self.error)}"


class ExportRecord:
    """State of one monitored export. Writers read it; only the monitor changes it."""

    def __init__(
        self, output_path: Path, config: MonitorConfig, clock: Callable[[], float], memory: Callable[[], int]
    ) -> None:
        if not output_path.name:
            raise OutputError(f"{str(output_path)!r} names no file: give the path of the ONNX model")
        self.output_path = output_path
        self.config = config
        self.data = HTPExportData(output_path=str(output_path))
        self.steps = {step: StepRecord(step) for step in HTPExportStep}
        self.failures: list[tuple[HTPExportStep, str]] = []
        self.writer_failures: list[WriterFailure] = []
        self.files: list[Path] = []
        self.generated_at = timestamp()
        self.last: HTPExportStep | None = None
        self.revision = 0
        self._clock = clock
        self._memory = memory
        self._mark = clock()
        self._view: tuple[int, View] | None = None

    def done(self, step: HTPExportStep) -> None:
        """``step`` ended now."""
        self._measure(step)
        self.steps[step].done = True
        self.last = step
        self.revision += 1

    def failed(self, step: HTPExportStep, message: str) -> None:
        """``step`` failed now."""
        self._measure(step)
        self.steps[step].errors.append(message)
        self.failures.append((step, message))
        self.revision += 1

    def _measure(self, step: HTPExportStep) -> None:
        now = self._clock()
        record = self.steps[step]
        record.seconds += now - self._mark
        record.memory_mb = self._memory() >> 20
        self._mark = now

    def resume(self) -> None:
        """The writers are done; what they took is in no step's time."""
        self._mark = self._clock()

    @property
    def outcome(self) -> Outcome:
        """How the export stands; the first failure decides."""
        if self.failures:
            step, message = self.failures[0]
            return Outcome("failed", step, message)
        return Outcome("success" if self.steps[HTPExportStep.COMPLETE].done else "incomplete", self.last, None)

    @property
    def next_step(self) -> HTPExportStep | None:
        """The step that is being worked on: the one after the last that was logged."""
        order = list(HTPExportStep)
        position = 0 if self.last is None else self.last.number
        return order[position] if position < len(order) else None

    @property
    def seconds(self) -> float:
        """Time of the whole export: as the exporter says, else the sum of the steps."""
        return self.data.export_time or sum(record.seconds for record in self.steps.values())

    def view(self) -> View:
        """Statistics and module rows; with ``enable_cache`` computed once per logged step."""
        if self._view is None or self._view[0] != self.revision or not self.config.enable_cache:
            self._view = None  # the old one goes before the new one comes: they may be large
            self._view = (self.revision, View(self.data))
        return self._view[1]

    @property
    def metadata_path(self) -> Path:
        """The metadata file, beside the model."""
        return self._beside(METADATA)

    @property
    def report_path(self) -> Path:
        """The report, beside the model."""
        return self._beside(REPORT)

    @property
    def console_path(self) -> Path:
        """The console log, beside the model."""
        return self._beside(CONSOLE_LOG)

    def _beside(self, suffix: str) -> Path:
        return self.output_path.with_name(f"{self.output_path.stem}{suffix}")


def timestamp() -> str:
    """Now in UTC, ISO 8601; ``SOURCE_DATE_EPOCH`` is taken where it is set, so output can be reproduced."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    try:
        moment = datetime.fromtimestamp(int(epoch), UTC)
    except (ValueError, OverflowError, OSError):
        moment = datetime.now(UTC).replace(microsecond=0)
    return moment.isoformat().replace("+00:00", "Z")
