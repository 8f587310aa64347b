"""Sidecars of exports that somebody else started, and telling a run of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from modelexport.frontend.clients.session import Session, Settings, Told
from modelexport.frontend.export.pipelines import keeps_torch_nn
from modelexport.frontend.interception.record import reason
from modelexport.ir.io.sidecar import sidecar_path, write_sidecar

if TYPE_CHECKING:
    from modelexport.frontend.interception.record import Export
    from modelexport.ir.model import Model
    from modelexport.passes.pipeline.text import Pipeline

STRATEGY = "htp_builtin"


def write_beside(export: Export, graph: Model, pipeline: Pipeline) -> str | None:
    """Write the sidecar beside the file. Returns what went wrong, or None."""
    return _write(export, graph, pipeline, sidecar_path(export.path)) if export.path is not None else None


def tell_run(folder: str, settings: Settings, record: Export, graph: Model | None, pipeline: Pipeline | None) -> None:
    """Number the export, write the sidecars that the run asked for, and tell it and the runs around it."""
    session = Session(folder)
    number = session.next_number()
    problems: list[str | None] = []
    if graph is not None and pipeline is not None:
        if settings.sidecar:
            problems.append(write_beside(record, graph, pipeline))
        if settings.record is not None:
            stem = Path(record.path).stem if record.path is not None else "model"
            target = Path(settings.record) / f"{number:03d}-{stem}_hierarchy.json"
            problems.append(_write(record, graph, pipeline, target))
    notes = [problem for problem in problems if problem is not None]
    file = os.path.abspath(record.path) if record.path is not None else None
    told = Told(str(record), file, record.tagged, bool(notes) or not record.tagged, notes, record.trace)
    session.tell(number, told)
    for outer in settings.outer:
        if os.path.isdir(outer):
            around = Session(outer)
            around.tell(around.next_number(), told)


def _write(export: Export, graph: Model, pipeline: Pipeline, target: Path) -> str | None:
    try:
        write_sidecar(
            graph,
            target,
            exporter={"strategy": STRATEGY, "exporter": export.exporter},
            pipeline=pipeline.recorded(),
            model_path=export.path or "model.onnx",
            torch_nn=keeps_torch_nn(pipeline),
        )
    except Exception as error:  # noqa: BLE001 - the export must go on; it is told
        return f"{export.where}: no sidecar: {reason(error)}"
    return None
