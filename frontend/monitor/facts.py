"""What writers read out of the step-specific data: inputs, warnings, files, and how the export was done."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path, PurePath
from typing import Any

from modelexport.frontend.monitor.data import HTPExportData, HTPExportStep
from modelexport.frontend.monitor.record import ExportRecord
from modelexport.frontend.monitor.spelling import absent, entries, spelled

_LIBRARIES = ("torch", "onnx", "onnxruntime", "onnxscript", "transformers")
_HOW = ("strategy", "exporter", "opset_version", "pipeline")


@cache
def version() -> str:
    """Version of this package, or ``unknown`` when it runs without being installed."""
    try:
        return metadata.version("modelexport")
    except metadata.PackageNotFoundError:
        return "unknown"


@cache
def system() -> str:
    """Operating system, its release, and the machine."""
    return "-".join((platform.system(), platform.release(), platform.machine()))


def versions() -> dict[str, str]:
    """Versions of Python, this package, and those libraries of the export that are loaded."""
    found = {"python": platform.python_version(), "modelexport": version()}
    for name in _LIBRARIES:
        module = sys.modules.get(name)
        if module is not None:
            found[name] = str(getattr(module, "__version__", "unknown"))
    return found


def strings(value: Any) -> list[str]:
    """A text, or several, as a list; nothing as an empty one."""
    if absent(value):
        return []
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return [spelled(value)]
    try:
        return [spelled(entry) for entry in value]
    except Exception:  # noqa: BLE001 - any class may say that it can be walked; it is told as a text then
        return [spelled(value)]


def inputs(data: HTPExportData) -> list[dict[str, Any]]:
    """The example inputs as ``{name, dtype, shape}``; the data has a list of such, or a mapping by name."""
    given = data.details(HTPExportStep.INPUT_GEN).get("inputs")
    rows: list[dict[str, Any]] = []
    if isinstance(given, Mapping):
        for name, entry in entries(given):
            rows.append({"name": spelled(name), **_tensor(entry)})
    elif isinstance(given, list | tuple):
        for position, entry in enumerate(given):
            name = entry.get("name", position) if isinstance(entry, Mapping) else position
            rows.append({"name": spelled(name), **_tensor(entry)})
    return rows


def _tensor(entry: Any) -> dict[str, Any]:
    if isinstance(entry, Mapping):
        dtype, shape = entry.get("dtype"), entry.get("shape")
    else:
        dtype, shape = _attribute(entry, "dtype"), _attribute(entry, "shape")
        if dtype is None and shape is None:
            return {"dtype": spelled(entry), "shape": None}
    sizes: Any = None
    if shape is not None and not isinstance(shape, str):
        try:
            sizes = [_size(axis) for axis in shape]
        except Exception:  # noqa: BLE001 - any class may say that it has a shape; it is told as a text then
            sizes = [spelled(shape)]
    return {"dtype": None if dtype is None else spelled(dtype).removeprefix("torch."), "shape": sizes}


def _attribute(entry: object, name: str) -> Any:
    try:
        return getattr(entry, name, None)
    except Exception:  # noqa: BLE001 - any class may compute an attribute; one that can't is as if it had none
        return None


def _size(axis: object) -> int | str:
    return axis if isinstance(axis, int) and abs(axis) < 1 << 63 else spelled(axis)


def input_texts(data: HTPExportData) -> list[str]:
    """The example inputs, one text each."""
    texts = []
    for row in inputs(data):
        shape = "" if row["shape"] is None else f" [{', '.join(map(spelled, row['shape']))}]"
        texts.append(f"{row['name']}: {row['dtype'] or ''}{shape}")
    return texts


def warnings(record: ExportRecord) -> list[str]:
    """Every warning that a step brought, once."""
    found: dict[str, None] = {}
    for step in HTPExportStep:
        found.update(dict.fromkeys(strings(record.data.details(step).get("warnings"))))
    return list(found)


def how(record: ExportRecord) -> dict[str, Any]:
    """Strategy, exporter, opset and pipeline, from whichever step said them last; None for what none said."""
    found: dict[str, Any] = dict.fromkeys(_HOW)
    for step in HTPExportStep:
        details = record.data.details(step)
        found.update({key: details[key] for key in _HOW if details.get(key) is not None})
    return found


def model_files(record: ExportRecord) -> Iterator[tuple[str, Path]]:
    """Role and path of the files the export itself saved: none before the SAVE step."""
    if not record.steps[HTPExportStep.SAVE].done:
        return
    given: dict[str, Any] = {"model": record.data.output_path}
    named = record.data.details(HTPExportStep.SAVE).get("files")
    if isinstance(named, Mapping):
        given.update(entries(named))
    elif named is not None:
        given.update({PurePath(name).name: name for name in strings(named) if name != given["model"]})
    for role, path in given.items():
        if path is not None and (told := spelled(path)):
            yield spelled(role), Path(told)


def size(path: Path) -> int | None:
    """Bytes of a file; None where there is none, or no file can have such a name."""
    try:
        return path.stat().st_size if path.is_file() else None
    except (OSError, ValueError):
        return None


def monitor_files(record: ExportRecord) -> list[tuple[str, Path]]:
    """Role and path of the files the writers wrote so far."""
    roles = {record.metadata_path: "metadata", record.report_path: "report", record.console_path: "console"}
    return [(roles.get(path, path.name), path) for path in record.files]
