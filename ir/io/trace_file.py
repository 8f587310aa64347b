"""The trace file (``.htptrace``): what running the PyTorch model showed, for tools that don't have PyTorch.

Format, version 2. A zip archive (deflate) of one ``header.json`` and NumPy ``.npy`` arrays; never a pickle.

``header.json``::

    {"format": "modelexport-trace", "version": 2, "producer": text, "notes": {text: text},
     "modules":    [[path, qualified class, calls, [alias paths], own scalar parameters, same as | null], ...],
     "parameters": [[name, module index, [dimension, ...], [alias names]], ...],
     "examples":   [[[input name, member, dtype], ...], ...],
     "views":      [{"kind", "example", "ops": [text], "nodes": [text] | [], "names": [text] | [],
                    "inputs": {name: value id}}, ...]}

- A *module* is one ``nn.Module`` instance under its first ``named_modules()`` name, or under another name that it was
  called by, in a row that has the first name as ``same as``. Containers that are never called have ``calls`` 0. Version
  1 had no such rows and no ``same as``.
- A *parameter* is a parameter or buffer. Array ``parameters.stats`` (P x 7, float64), ``parameters.samples`` (P x 16,
  float32) and ``parameters.rows`` (P x 16, float32) hold its fingerprint; ``rows`` is taken after each row of the
  first axis was divided by its length, so it survives a scaling per output channel (a folded batch norm, a
  quantisation).
- An *example* is one set of inputs, flattened; bfloat16 is stored as uint16 with dtype "bfloat16".
- A *view* is one recorded run over one example, as a graph: ``kind`` is "eager" (operator calls as PyTorch's function
  mode sees them) or the name of an exporter ("torchscript", "dynamo": the nodes of the ONNX graph this exporter makes
  of the model). Arrays ``views.<i>.<array>``: ``op`` and ``module`` (E, int32: index into ``ops`` and ``modules``, -1
  unknown) in order of execution; ``in_offsets``/``in_ids`` and ``out_offsets``/``out_ids`` (the value ids event ``e``
  reads and makes are ``ids[offsets[e]:offsets[e+1]]``, -1 for an absent slot); ``stats`` (V x 7), ``samples`` (V x
  16), ``dim_offsets``/``dims`` (shapes). ``nodes`` are node names, ``names`` value names (of parameters in an eager
  view), each empty or complete. ``stats`` is NaN where no value is known.
- ``stats`` are: number of elements, sum, sum of squares, sum of absolute values, least, greatest (all over finite
  elements), number of elements that are not finite. ``samples`` are 16 elements at fixed places of the flattened
  array.

Reading is bounded: number and size of members, counts, index ranges; anything else is an InputError.
"""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
import zlib
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from modelexport.ir.arrays import Array
from modelexport.ir.errors import InputError, MissingFileError, OutputError
from modelexport.ir.identity.file_kinds import told
from modelexport.ir.modules import Module, ModuleTable

FORMAT, VERSION = "modelexport-trace", 2
STATS, SAMPLES = 7, 16
_MAX_MEMBERS = 20_000
_MAX_HEADER = 256 << 20
_MAX_BYTES = 4 << 30
# what reading a header that is not as it should be raises; the last two are numpy's parser of array headers
_DAMAGE = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    RecursionError,
    SyntaxError,
    TokenError,
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter or buffer: its name, the index of the module that owns it, its shape and its other names."""

    name: str
    module: int
    shape: tuple[int, ...]
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """One recorded run as a graph of events and values; arrays as in the format description."""

    kind: str
    example: int
    ops: tuple[str, ...]
    op: Array
    module: Array
    in_offsets: Array
    in_ids: Array
    out_offsets: Array
    out_ids: Array
    stats: Array
    samples: Array
    dim_offsets: Array
    dims: Array
    nodes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    inputs: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.op)

    def shape(self, value: int) -> tuple[int, ...]:
        """Shape of a value."""
        return tuple(int(d) for d in self.dims[self.dim_offsets[value] : self.dim_offsets[value + 1]])

    def reads(self, event: int) -> Array:
        """Value ids that ``event`` reads."""
        return self.in_ids[self.in_offsets[event] : self.in_offsets[event + 1]]

    def makes(self, event: int) -> Array:
        """Value ids that ``event`` makes."""
        return self.out_ids[self.out_offsets[event] : self.out_offsets[event + 1]]


@dataclass(frozen=True, slots=True)
class Trace:
    """Contents of a trace file."""

    modules: tuple[Module, ...]
    parameters: tuple[Parameter, ...] = ()
    parameter_stats: Array = field(default_factory=lambda: np.zeros((0, STATS)))
    parameter_samples: Array = field(default_factory=lambda: np.zeros((0, SAMPLES), np.float32))
    parameter_rows: Array = field(default_factory=lambda: np.zeros((0, SAMPLES), np.float32))
    examples: tuple[dict[str, Array], ...] = ()
    example_dtypes: tuple[dict[str, str], ...] = ()
    views: tuple[View, ...] = ()
    notes: dict[str, str] = field(default_factory=dict)
    producer: str = "modelexport"

    def module_table(self) -> ModuleTable:
        """The modules as a table of their own."""
        return ModuleTable(
            Module(m.path, m.cls, m.calls, m.aliases, m.parameters, class_name=m.class_name, same_as=m.same_as)
            for m in self.modules
        )


_VIEW_ARRAYS: dict[str, tuple[str, int]] = {
    "op": ("i", 1),
    "module": ("i", 1),
    "in_offsets": ("i", 1),
    "in_ids": ("i", 1),
    "out_offsets": ("i", 1),
    "out_ids": ("i", 1),
    "stats": ("f", 2),
    "samples": ("f", 2),
    "dim_offsets": ("i", 1),
    "dims": ("i", 1),
}


def save_trace(trace: Trace, path: str | PathLike[str]) -> Path:
    """Write ``trace`` atomically. Raises OutputError."""
    target = Path(path)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "producer": trace.producer,
        "notes": trace.notes,
        "modules": [[m.path, m.cls, m.calls, list(m.aliases), m.parameters, m.same_as] for m in trace.modules],
        "parameters": [[p.name, p.module, list(p.shape), list(p.aliases)] for p in trace.parameters],
        "examples": [
            [[name, f"examples.{i}.{j}", dtypes.get(name, str(example[name].dtype))] for j, name in enumerate(example)]
            for i, (example, dtypes) in enumerate(zip(trace.examples, trace.example_dtypes, strict=True))
        ],
        "views": [
            {
                "kind": view.kind,
                "example": view.example,
                "ops": list(view.ops),
                "nodes": list(view.nodes),
                "names": list(view.names),
                "inputs": view.inputs,
            }
            for view in trace.views
        ],
    }
    arrays: dict[str, Array] = {
        "parameters.stats": trace.parameter_stats,
        "parameters.samples": trace.parameter_samples,
        "parameters.rows": trace.parameter_rows,
    }
    for i, example in enumerate(trace.examples):
        arrays |= {f"examples.{i}.{j}": array for j, array in enumerate(example.values())}
    for i, view in enumerate(trace.views):
        arrays |= {f"views.{i}.{name}": getattr(view, name) for name in _VIEW_ARRAYS}
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            archive.writestr(_member("header.json"), json.dumps(header, separators=(",", ":")))
            for name, array in arrays.items():
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=False)
                archive.writestr(_member(f"{name}.npy"), buffer.getvalue())
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(target)
    except OSError as error:
        raise OutputError(f"{target}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return target


def load_trace(path: str | PathLike[str]) -> Trace:
    """Read a trace file.

    Raises:
        InputError: the file can't be read, is not a trace, is of a newer version, or is damaged.
    """
    label = str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return _Reader(archive, label).trace()
    except FileNotFoundError as error:
        raise MissingFileError(f"{label}: {error.strerror or error}") from error
    except OSError as error:
        raise InputError(f"{label}: {error.strerror or error}") from error
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{label}: not a trace file{told(label, f', or damaged ({error})')}") from error
    except _DAMAGE as error:
        raise InputError(f"{label}: damaged trace file ({type(error).__name__}: {error})") from error
    except zlib.error as error:
        raise InputError(f"{label}: damaged trace file ({error})") from error


class _Reader:
    """One archive being read, with its bounds."""

    def __init__(self, archive: zipfile.ZipFile, label: str) -> None:
        members = archive.infolist()
        if len(members) > _MAX_MEMBERS or sum(info.file_size for info in members) > _MAX_BYTES:
            raise InputError(f"{label}: trace file is too large ({len(members)} members)")
        self.archive, self.label = archive, label

    def trace(self) -> Trace:
        info = self._info("header.json")
        if info.file_size > _MAX_HEADER:
            raise InputError(f"{self.label}: trace file header is too large")
        header = json.loads(self._bytes(info))
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise InputError(f"{self.label}: not a trace file")
        if header.get("version") not in (1, VERSION):
            raise InputError(f"{self.label}: trace file version {header.get('version')!r}; this reads 1 to {VERSION}")
        modules = tuple(
            Module(
                str(path),
                str(cls),
                int(calls),
                tuple(map(str, aliases)),
                int(size),
                same_as=str(same[0]) if same and same[0] is not None else None,
            )
            for path, cls, calls, aliases, size, *same in header["modules"]
        )
        parameters = tuple(
            Parameter(str(name), int(module), tuple(map(int, shape)), tuple(map(str, aliases)))
            for name, module, shape, aliases in header["parameters"]
        )
        self._check(all(-1 <= p.module < len(modules) for p in parameters), "parameter of an unknown module")
        examples = [{str(n): self._array(str(member)) for n, member, _ in rows} for rows in header["examples"]]
        return Trace(
            modules,
            parameters,
            self._fixed("parameters.stats", "f", (len(parameters), STATS)),
            self._fixed("parameters.samples", "f", (len(parameters), SAMPLES)),
            self._fixed("parameters.rows", "f", (len(parameters), SAMPLES)),
            tuple(examples),
            tuple({str(n): str(dtype) for n, _, dtype in rows} for rows in header["examples"]),
            tuple(self._view(i, row, len(modules), len(examples)) for i, row in enumerate(header["views"])),
            {str(k): str(v) for k, v in header["notes"].items()},
            str(header["producer"]),
        )

    def _view(self, index: int, row: dict[str, Any], modules: int, examples: int) -> View:
        arrays = {n: self._array(f"views.{index}.{n}", k, d) for n, (k, d) in _VIEW_ARRAYS.items()}
        view = View(
            str(row["kind"]),
            int(row["example"]),
            tuple(map(str, row["ops"])),
            nodes=tuple(map(str, row["nodes"])),
            names=tuple(map(str, row["names"])),
            inputs={str(k): int(v) for k, v in row["inputs"].items()},
            **arrays,
        )
        events, values = len(view.op), len(view.stats)
        self._check(-1 <= view.example < examples, "view of an unknown example")
        self._range(view.op, -1, len(view.ops))
        self._range(view.module, -1, modules)
        self._check(len(view.module) == events, "arrays of a view differ in length")
        self._check(view.stats.shape == (values, STATS) and view.samples.shape == (values, SAMPLES), "bad fingerprints")
        self._check(not view.nodes or len(view.nodes) == events, "bad node names")
        self._check(not view.names or len(view.names) == values, "bad value names")
        self._check(all(0 <= v < values for v in view.inputs.values()), "bad inputs")
        self._offsets(view.in_offsets, events, len(view.in_ids))
        self._offsets(view.out_offsets, events, len(view.out_ids))
        self._offsets(view.dim_offsets, values, len(view.dims))
        self._range(view.in_ids, -1, values)
        self._range(view.out_ids, -1, values)
        return view

    def _offsets(self, offsets: Array, count: int, size: int) -> None:
        fine = len(offsets) == count + 1 and offsets[0] == 0 and offsets[-1] == size
        self._check(bool(fine and (np.diff(offsets) >= 0).all()), "bad offsets")

    def _range(self, array: Array, low: int, high: int) -> None:
        self._check(not len(array) or bool(array.min() >= low and array.max() < high), "index out of range")

    def _check(self, fine: bool, what: str) -> None:
        if not fine:
            raise InputError(f"{self.label}: damaged trace file: {what}")

    def _fixed(self, name: str, kind: str, shape: tuple[int, ...]) -> Array:
        array = self._array(name, kind, len(shape))
        self._check(array.shape == shape, f"{name} has shape {array.shape}")
        return array

    def _array(self, name: str, kind: str = "", ndim: int | None = None) -> Array:
        buffer = io.BytesIO(self._bytes(self._info(f"{name}.npy")))
        self._check(np.lib.format.read_magic(buffer) == (1, 0), f"{name} is not a simple array")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(buffer)
        rest = buffer.read()
        self._check(dtype.kind in "biufc" and min(shape, default=1) >= 0, f"{name} is not numeric")
        self._check(math.prod(shape) * dtype.itemsize == len(rest), f"{name} has a wrong size")
        array: Array = np.frombuffer(rest, dtype).reshape(shape, order="F" if fortran else "C")
        self._check(not kind or array.dtype.kind == kind, f"{name} has type {array.dtype}")
        self._check(ndim is None or array.ndim == ndim, f"{name} has {array.ndim} dimensions")
        return array

    def _bytes(self, info: zipfile.ZipInfo) -> bytes:
        with self.archive.open(info) as handle:
            data = handle.read(info.file_size + 1)
        self._check(len(data) == info.file_size, f"{info.filename} has a wrong size")
        return data

    def _info(self, name: str) -> zipfile.ZipInfo:
        try:
            return self.archive.getinfo(name)
        except KeyError:
            raise InputError(f"{self.label}: not a trace file{told(self.label, f': it has no {name}')}") from None


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))  # a fixed date: equal traces are equal files
    info.compress_type = zipfile.ZIP_DEFLATED
    return info
