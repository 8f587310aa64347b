"""Monitoring an export that is one of several attempts, or whose file is optimised afterwards.

Monitors hear of the nodes that the file has at the end, and of why attempts before this one failed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from modelexport.frontend.monitor import HTPExportMonitor, HTPExportStep
    from modelexport.frontend.monitor.protocol import Monitor

_HELD = ("NODE_TAGGING", "SAVE", "COMPLETE")


class HeldSteps:
    """A monitor that passes steps on to others, those from NODE_TAGGING only when the file is final.

    Args:
        output_path: the ONNX file.
        verbose, report: whether the export shows its steps, and writes the monitor's files.
        monitor: the caller's own monitor; it is not finalised.
        warnings: told with the first step, as why other strategies failed.
    """

    def __init__(
        self,
        output_path: str | PathLike[str],
        *,
        verbose: bool,
        report: bool,
        monitor: Monitor | None,
        warnings: Sequence[str] = (),
    ) -> None:
        from modelexport.frontend.monitor import HTPExportMonitor

        shown = verbose or report
        self._own: HTPExportMonitor | None = HTPExportMonitor(output_path, verbose=verbose) if shown else None
        self._report = report
        self._warnings = list(warnings)
        both: tuple[Monitor | None, ...] = (self._own, monitor)
        self._monitors = [one for one in both if one is not None]
        self._held: dict[HTPExportStep, dict[str, Any]] = {}

    def log_step(self, step: HTPExportStep, data: Any = None, **fields: Any) -> None:
        """``step`` is done."""
        if step in _HELD:
            self._held[step] = {**(data or {}), **fields}
        else:
            warnings, self._warnings = self._warnings, []
            if warnings:
                fields["warnings"] = [*warnings, *fields.get("warnings", ())]
            self._pass_on(step, fields)

    def log_error(self, step: HTPExportStep, message: str) -> None:
        """``step`` failed: what was held is told, then this."""
        self._release()
        for monitor in self._monitors:
            monitor.log_error(step, message)

    def __bool__(self) -> bool:
        return bool(self._monitors)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        """Write the files, where they were asked for."""
        if self._own is not None and self._report:
            self._own.finalize()

    @property
    def unwritten(self) -> list[str]:
        """What could not be written of the files."""
        failures = self._own.errors if self._own is not None else []
        return [str(failure) for failure in failures if failure.during == "finalize"]

    @contextmanager
    def optimizing(self, result: dict[str, Any], *, torch_nn: bool) -> Iterator[None]:
        """Around the optimisation of the file that ``result`` describes; what was held is told at the end."""
        began = time.perf_counter()
        try:
            yield
        except BaseException as error:
            self._failed(error)
            raise
        if self and result.get("optimizations_applied"):
            self._optimized(result["output_path"], torch_nn, time.perf_counter() - began)
        self._release()

    def _failed(self, error: BaseException) -> None:
        """The optimisation failed; the file is as it was exported."""
        from modelexport.frontend.monitor import HTPExportStep

        self._held.pop(HTPExportStep.COMPLETE, None)
        self.log_error(HTPExportStep.SAVE, f"{type(error).__name__}: {error}")

    def _optimized(self, path: str, torch_nn: bool, seconds: float) -> None:
        """The file holds other nodes than those that were told."""
        from modelexport.frontend.monitor.feed import tagging_fields
        from modelexport.ir.io.embedded_tags import pipeline_of
        from modelexport.ir.io.tag_rows import tagged_model

        model = tagged_model(path)
        for step, fields in self._held.items():
            if step == "NODE_TAGGING":
                fields.update(tagging_fields(model, torch_nn=torch_nn))
                fields["pipeline"] = pipeline_of(model.metadata) or fields.get("pipeline")
            elif step == "SAVE":
                fields["file_size"] = _size(fields.get("files", {}))
            else:
                fields["export_time"] += seconds

    def _release(self) -> None:
        """Tell what was held."""
        held, self._held = self._held, {}
        for step, fields in held.items():
            self._pass_on(step, fields)

    def _pass_on(self, step: HTPExportStep, fields: Mapping[str, Any]) -> None:
        for monitor in self._monitors:
            monitor.log_step(step, **fields)


def _size(files: Mapping[str, Path]) -> int:
    return sum(path.stat().st_size for role, path in files.items() if role in ("model", "data"))
