"""The monitor of an export: it is told of each step, keeps the record, and hands it to its writers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import psutil

from modelexport.frontend.monitor.config import MonitorConfig
from modelexport.frontend.monitor.data import HTPExportData, HTPExportStep, StepData, merge, step_of
from modelexport.frontend.monitor.metadata import HTPMetadataWriter
from modelexport.frontend.monitor.record import ExportRecord, Outcome, WriterFailure
from modelexport.frontend.monitor.report import HTPReportWriter
from modelexport.frontend.monitor.screen.console import HTPConsoleWriter
from modelexport.frontend.monitor.settled import settled
from modelexport.frontend.monitor.spelling import spelled
from modelexport.frontend.monitor.writers import StepAwareWriter

if TYPE_CHECKING:
    from rich.console import Console

logger = logging.getLogger("modelexport.monitor")


def resident_bytes() -> int:
    """Resident memory of this process."""
    return int(psutil.Process().memory_info().rss)


class HTPExportMonitor:
    """Watches one export, keeps its record, and writes it down.

    Args:
        output_path: where the ONNX model goes; the three files of ``finalize`` go beside it.
        model_name: name of the model, until a step says another one.
        verbose: whether the console shows the steps as they happen, on stderr unless ``console`` is given.
        config: options, see ``MonitorConfig``. Raises ConfigError for an unknown key or a bad value.
        console: a Rich console to write to instead of stderr.
        writers: more writers, told of everything after the three that are always there.
        clock: seconds from any origin; memory: resident bytes of the process.
    """

    def __init__(
        self,
        output_path: str | PathLike[str],
        model_name: str = "",
        verbose: bool = True,
        config: Mapping[str, Any] | MonitorConfig | None = None,
        *,
        console: Console | None = None,
        writers: Iterable[StepAwareWriter] = (),
        clock: Callable[[], float] = time.perf_counter,
        memory: Callable[[], int] = resident_bytes,
    ) -> None:
        self.record = ExportRecord(Path(output_path), MonitorConfig.of(config), clock, memory)
        self.record.data.model_name = model_name
        self._console_writer = HTPConsoleWriter(verbose=verbose, console=console)
        self._metadata_writer = HTPMetadataWriter()
        self._report_writer = HTPReportWriter()
        # The order in which files are written: the metadata comes last, so it lists the files that are really there.
        self._writers = (self._report_writer, self._console_writer, *writers, self._metadata_writer)
        self._finished: tuple[int, list[Path]] | None = None
        for writer in self._writers:
            self._guarded(writer, "start", partial(writer.start, self.record))

    @property
    def console_writer(self) -> HTPConsoleWriter:
        """The writer of what is shown; others are given as ``writers``."""
        return self._console_writer

    @property
    def metadata_writer(self) -> HTPMetadataWriter:
        """The writer of the metadata file."""
        return self._metadata_writer

    @property
    def report_writer(self) -> HTPReportWriter:
        """The writer of the report file."""
        return self._report_writer

    @property
    def writers(self) -> tuple[StepAwareWriter, ...]:
        """All writers, in the order in which they write their files."""
        return self._writers

    @property
    def data(self) -> HTPExportData:
        """Everything known so far."""
        return self.record.data

    @property
    def outcome(self) -> Outcome:
        """How the export stands: status, step, error."""
        return self.record.outcome

    @property
    def errors(self) -> list[WriterFailure]:
        """Writers that raised; the export and the other writers went on."""
        return self.record.writer_failures

    def log_step(self, step: HTPExportStep | str, data: StepData = None, **fields: Any) -> None:
        """Say that ``step`` is done, and what is known since: ``data``, and ``fields`` by their names.

        Raises InputError for a step that does not exist and for data that can't be read; see ``merge`` in data.py.
        """
        which = step_of(step)
        merge(self.record.data, which, data, fields)
        self.record.done(which)
        for writer in self._writers:
            self._guarded(writer, which.value, partial(writer.handle, which, self.record.data))
        self.record.resume()

    def log_error(self, step: HTPExportStep | str, message: str | BaseException) -> None:
        """Say that ``step`` failed. The monitor goes on with what it has; the export counts as failed."""
        which = step_of(step)
        told = settled(message)
        text = told if isinstance(told, str) else f"{type(message).__name__}: {spelled(message)}"
        self.record.failed(which, text)
        for writer in self._writers:
            self._guarded(writer, which.value, partial(writer.on_error, which, text))
        self.record.resume()

    def finalize(self) -> list[Path]:
        """Write the files beside the model, return their paths, metadata first. Again without news it does nothing."""
        if self._finished is None or self._finished[0] != self.record.revision:
            self.record.files = []
            for writer in self._writers:
                path = self._guarded(writer, "finalize", partial(_finish, writer))
                if path is not None:
                    self.record.files.append(path)
            self._guarded(self.console_writer, "finalize", self.console_writer.say_failures)
            first = self.record.metadata_path
            self._finished = (self.record.revision, sorted(self.record.files, key=lambda path: path != first))
        return list(self._finished[1])

    def get_console_output(self) -> str:
        """All that was or would have been printed, as plain text."""
        return self.console_writer.get_output()

    def get_metadata(self) -> dict[str, Any]:
        """The metadata as it would be written now."""
        return self.metadata_writer.get_metadata()

    def get_report(self) -> str:
        """The report as it would be written now."""
        return self.report_writer.get_report()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finalize; an exception of the block is recorded as a failure of the current step and goes on."""
        if error is not None and not self.record.failures:
            self.log_error(self.record.next_step or HTPExportStep.COMPLETE, error)
        self.finalize()

    def _guarded(self, writer: StepAwareWriter, during: str, call: Callable[[], Path | None]) -> Path | None:
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - writers are third-party code: none may fail an export or another writer
            failure = WriterFailure(type(writer).__name__, during, error)
            self.record.writer_failures.append(failure)
            logger.info("%s", failure)
            return None


def _finish(writer: StepAwareWriter) -> Path | None:
    path = writer.finish()
    return None if path is None else Path(path)
