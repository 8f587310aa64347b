"""``modelexport.tagging()``: exports of this process carry tags, whoever starts them."""

from __future__ import annotations

import os
import sys
import warnings
from types import TracebackType
from typing import TYPE_CHECKING

from modelexport.frontend.clients.plans import read_pipeline
from modelexport.frontend.interception import exporters
from modelexport.frontend.interception.record import Export
from modelexport.ir.errors import ConfigError, PipelineError, TaggingError, TaggingWarning

if TYPE_CHECKING:
    from modelexport.ir.model import Model
    from modelexport.passes.pipeline.text import Pipeline


def tagging(pipeline: str = "htp", sidecar: bool = False, strict: bool = False) -> Tagging:
    """A context in which every ``torch.onnx.export`` of this process writes a tagged model.

    It holds for all threads and for exports that begin inside. The files are torch's but for metadata; nothing else
    changes. torch need not be imported yet. What fails leaves a plain export and is a ``TaggingWarning``.

    Args:
        pipeline: the passes that tag; they may only annotate.
        sidecar: also write ``<stem>_hierarchy.json`` beside each path.
        strict: raise at the end of the block when an export could not be tagged.

    Returns:
        A context manager. It gives the list of exports, which grows as they end: ``path`` (None where it was none),
        ``exporter`` (``"torchscript"`` or ``"dynamo"``), ``model`` (class name), ``nodes``, ``by_source``, ``tagged``
        and ``error``. An export that torch refused is not in it.

    Raises:
        ConfigError: an argument that can't be used.
        TaggingError: at the end of a strict block.
    """
    return Tagging(pipeline, sidecar, strict)


class Tagging:
    """See :func:`tagging`. It can be entered once at a time."""

    def __init__(self, pipeline: str = "htp", sidecar: bool = False, strict: bool = False) -> None:
        for name, value in (("sidecar", sidecar), ("strict", strict)):
            if not isinstance(value, bool):
                raise ConfigError(f"{name}={value!r}: expected True or False")
        if not isinstance(pipeline, str):
            raise ConfigError(f"pipeline={pipeline!r}: expected the text of a pipeline")
        try:
            self._parsed = read_pipeline(pipeline)
        except PipelineError as error:
            raise ConfigError(f"pipeline={pipeline!r}: {error}") from error
        from modelexport.ir.limits import memory_limit_mb

        memory_limit_mb()
        self._sidecar = sidecar
        self._strict = strict
        self._exports: list[Export] | None = None
        self._process = 0
        self._place = ("", 0)
        self._refused: Exception | None = None

    @property
    def pipeline(self) -> Pipeline:
        """The passes that tag."""
        return self._parsed

    def __enter__(self) -> list[Export]:
        if self._exports is not None:
            raise ConfigError("this tagging() is entered already: make another one")
        caller = sys._getframe(1)
        self._place = (caller.f_code.co_filename, caller.f_lineno)
        self._exports, self._refused, self._process = [], None, os.getpid()
        exporters.enter(self)
        return self._exports

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        exporters.leave(self)
        exports, self._exports = self._exports or [], None
        if error is not None:
            return
        if self._refused is not None:
            raise self._refused
        failed = [export for export in exports if not export.tagged or export.error is not None]
        if self._strict and failed:
            raise TaggingError("; ".join(f"{each.where}: {each.error}" for each in failed))

    def covers(self) -> bool:
        """Exports of this process; those of processes that it forks are not."""
        return os.getpid() == self._process

    def ended(self, record: Export, graph: Model | None) -> None:
        """Add it to the list."""
        if graph is not None and self._sidecar:
            from modelexport.frontend.clients.records import write_beside

            record.error = record.error or write_beside(record, graph, self._parsed)
        exports = self._exports
        if exports is not None:
            exports.append(record)
        if record.error is not None:
            message = record.error if record.tagged else str(record)
            try:
                warnings.warn_explicit(f"modelexport: {message}", TaggingWarning, *self._place, registry={})
            except TaggingWarning as refused:  # a filter makes errors of warnings: torch's export is not the place
                self._refused = refused
