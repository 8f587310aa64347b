"""The metadata file: everything about the export as JSON, by the schema in ``metadata.schema.json``, as a stream."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from importlib import resources
from pathlib import Path, PurePath
from typing import Any, TextIO

from modelexport.frontend.monitor import facts
from modelexport.frontend.monitor.data import HTPExportStep, NodeInfo
from modelexport.frontend.monitor.files import text_output
from modelexport.frontend.monitor.record import ExportRecord
from modelexport.frontend.monitor.screen.view import Row, View, node_records
from modelexport.frontend.monitor.spelling import escaped, spelled
from modelexport.frontend.monitor.writers import StepAwareWriter

FORMAT = "modelexport-export-metadata"
SCHEMA_VERSION = "1.0"


def schema() -> dict[str, Any]:
    """The JSON Schema of the metadata file."""
    text = resources.files("modelexport.frontend.monitor").joinpath("metadata.schema.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


class HTPMetadataWriter(StepAwareWriter):
    """Writes the metadata when the export is over. The whole text is never in memory, unless one asks for it."""

    def start(self, record: ExportRecord) -> None:
        """Take the record."""
        self._record = record

    def get_metadata(self) -> dict[str, Any]:
        """What the file would say now."""
        buffer = io.StringIO()
        write_metadata(buffer, self._record)
        loaded: dict[str, Any] = json.loads(buffer.getvalue())
        return loaded

    def finish(self) -> Path | None:
        """Write the file."""
        path = self._record.metadata_path
        with text_output(path) as stream:
            write_metadata(stream, self._record, path)
        return path


def write_metadata(stream: TextIO, record: ExportRecord, own_path: Path | None = None) -> None:
    """Write the metadata of ``record``; ``own_path`` is the file it goes to, to be listed with the others."""
    view = record.view()
    outcome = record.outcome
    _section(stream, "format", FORMAT, first=True)
    _section(stream, "schema_version", SCHEMA_VERSION)
    _section(stream, "outcome", {"status": outcome.status, "step": outcome.step, "error": outcome.error})
    _section(stream, "export_context", _context(record))
    _section(stream, "model", _model(record, view))
    _section(stream, "inputs", facts.inputs(record.data))
    stream.write(',\n"modules": [')
    _modules(stream, view)
    stream.write('],\n"nodes": {')
    _nodes(stream, record)
    stream.write("}")
    _section(stream, "statistics", _statistics(record, view))
    _section(stream, "steps", _steps(record))
    _section(stream, "files", _files(record, own_path))
    stream.write("\n}\n")


def _section(stream: TextIO, key: str, value: Any, first: bool = False) -> None:
    stream.write(f'{"{" if first else ","}\n"{key}": {json.dumps(jsonable(value), indent=1)}')


def _context(record: ExportRecord) -> dict[str, Any]:
    return {
        "generated_at": record.generated_at,
        **facts.how(record),
        "embed_hierarchy_attributes": record.data.embed_hierarchy_attributes,
        "versions": facts.versions(),
        "platform": facts.system(),
        "warnings": facts.warnings(record),
        "errors": [{"step": step, "error": message} for step, message in record.failures],
        "writer_failures": [str(failure) for failure in record.writer_failures],
    }


def _model(record: ExportRecord, view: View) -> dict[str, Any]:
    data = record.data
    return {
        "name": data.model_name,
        "class": data.model_class,
        "modules": data.total_modules or len(view),
        "parameters": data.total_parameters,
        "path": PurePath(data.output_path).name,
    }


def _statistics(record: ExportRecord, view: View) -> dict[str, Any]:
    return {
        "total_nodes": view.total_nodes,
        "tagged_nodes": view.tagged_nodes,
        "coverage": view.coverage,
        "by_source": view.by_source,
        "tagging_stats": record.data.tagging_stats,
        "nodes_of_unlisted_modules": view.unlisted,
        "execution_steps": record.data.execution_steps,
        "export_time": record.seconds,
    }


def _steps(record: ExportRecord) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for step, state in record.steps.items():
        result[step.value] = {
            "number": step.number,
            "title": step.label,
            "status": state.status,
            "seconds": round(state.seconds, 6),
            "memory_mb": state.memory_mb,
            "errors": state.errors,
            "data": record.data.steps.get(step.value, {}),
        }
    others = {key: value for key, value in record.data.steps.items() if key not in HTPExportStep.__members__}
    return {**result, **{key: {"data": value} for key, value in others.items()}}


def _files(record: ExportRecord, own_path: Path | None) -> list[dict[str, Any]]:
    rows = [*facts.model_files(record), *facts.monitor_files(record)]
    if own_path is not None and own_path not in record.files:
        rows.append(("metadata", own_path))
    return [{"role": role, "path": path.name, "bytes": _bytes(role, path)} for role, path in rows]


def _bytes(role: str, path: Path) -> int | None:
    """Size of the file; None for the metadata, which is being written, and for a file that is not there."""
    return facts.size(path) if role != "metadata" else None


def _modules(stream: TextIO, view: View) -> None:
    before = -1
    for row in view.rows():
        if row.depth <= before:
            stream.write("]}" * (before - row.depth + 1) + ",")
        stream.write(f'\n{json.dumps(_module(row, view))[:-1]}, "children": [')
        before = row.depth
    stream.write("]}" * (before + 1))


def _module(row: Row, view: View) -> dict[str, Any]:
    info = row.info
    return {
        "name": escaped(row.name),
        "path": escaped(info.path),
        "class": escaped(info.class_name),
        "tag": escaped(info.tag),
        "execution_order": info.execution_order,
        "calls": info.calls,
        "parameters": info.parameters,
        "all_parameters": row.all_parameters,
        "nodes": row.nodes if view.has_nodes else None,
        "all_nodes": row.all_nodes if view.has_nodes else None,
    }


def _nodes(stream: TextIO, record: ExportRecord) -> None:
    encoded: dict[int, tuple[NodeInfo, str]] = {}
    separator = "\n"
    for key, info in node_records(record.data):
        found = encoded.get(id(info))
        if found is None:
            # Nodes of one attribution share their record. The table keeps the record alive, so its id stays its own.
            if len(encoded) >= 1024:
                encoded.clear()
            found = encoded[id(info)] = (info, json.dumps(jsonable(_four(info))))
        stream.write(f"{separator}{json.dumps(escaped(key))}: {found[1]}")
        separator = ",\n"


def _four(info: NodeInfo) -> dict[str, Any]:
    return {"tag": info["tag"], "path": info["path"], "source": info["source"], "confidence": info["confidence"]}


_DEEP = 100  # levels of data that are written
_DIGITS = 4000  # of an integer; Python refuses to spell longer ones


def jsonable(value: Any, depth: int = 0) -> Any:
    """``value`` in the types of JSON; what has none becomes text, a number that is not finite null.

    Of data that contains itself, or is deeper than 100 levels, and of what can't be spelled only the class is told.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if value.bit_length() < 3 * _DIGITS else f"<int of {value.bit_length()} bits>"
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, PurePath):
        return escaped(value.name)
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        if depth == _DEEP:
            return f"<{type(value).__name__}>"
        try:
            if isinstance(value, Mapping):
                return {spelled(key): jsonable(entry, depth + 1) for key, entry in value.items()}
            return [jsonable(entry, depth + 1) for entry in value]
        except Exception:  # noqa: BLE001 - any class may be in the data of a step, also one that can't be walked
            return f"<{type(value).__name__}>"
    return spelled(value)
