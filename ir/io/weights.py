"""Reading tensors: inside the model or in files beside it, memory-mapped, never all at once."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
from onnx import numpy_helper

from modelexport.ir.arrays import Array, is_element_type
from modelexport.ir.errors import InputError
from modelexport.ir.identity.file_kinds import pointer
from modelexport.ir.scope import Scope
from modelexport.ir.state import ModelState
from modelexport.ir.text import shown, text

EXTERNAL = onnx.TensorProto.EXTERNAL
_POINTER = 200  # bytes of a file that is none but points to one
_PACKED = {"INT4": 4, "UINT4": 4, "INT2": 2, "UINT2": 2, "FLOAT4": 4}  # bits an element


@dataclass(frozen=True, slots=True)
class DataRef:
    """Where a tensor's bytes are: ``length`` bytes (None: to the end) from ``offset`` on in ``location``."""

    location: str
    offset: int
    length: int | None


def data_location(tensor: onnx.TensorProto) -> str:
    """The file that a tensor's external data is in. Raises InputError where that can't be a file's name."""
    location = next((text(entry.value) for entry in reversed(tensor.external_data) if entry.key == "location"), "")
    if not location or "\0" in location:
        raise InputError(f"tensor {shown(text(tensor.name))!r}: external data without a usable location")
    return location


def data_ref(tensor: onnx.TensorProto) -> DataRef:
    """The external data a tensor refers to. Raises InputError for an entry that can't be used."""
    location = data_location(tensor)
    entries = {text(entry.key): text(entry.value) for entry in tensor.external_data}
    label = shown(text(tensor.name))
    numbers: dict[str, int | None] = {}
    for key in ("offset", "length"):
        value = entries.get(key)
        if value is not None and not (value.isascii() and value.isdigit() and len(value) < 20):
            raise InputError(f"tensor {label!r}: external data {key} {shown(value)!r} is not a number of bytes")
        numbers[key] = None if value is None else int(value)
    return DataRef(location, numbers["offset"] or 0, numbers["length"])


def is_outside(model: ModelState, location: str) -> bool:
    """Whether a location leaves the folder of the model, by its spelling or through a link.

    The folder is that of the path the model was read from, or of the file this path is a link to.
    """
    spelled = os.path.normpath(location)
    if os.path.isabs(spelled) or os.path.splitdrive(spelled)[0] or spelled.split(os.sep)[0] == os.pardir:
        return True
    if model.path is None or model.data_home is not None:
        return False
    real = os.path.realpath(model.path.parent / location)
    homes = {os.path.realpath(model.path.parent), os.path.dirname(os.path.realpath(model.path))}
    return not any(is_below(real, home) for home in homes)


def is_below(path: str, folder: str) -> bool:
    """Whether a real path is in the real folder, or that folder itself."""
    try:
        return os.path.commonpath([folder, path]) == folder
    except ValueError:  # on different drives
        return False


def blocks_of(file: BinaryIO, start: int, end: int, size: int) -> Iterator[bytes]:
    """The bytes of a file from ``start`` to ``end`` in blocks of ``size``; an empty one, and no more, where it ends
    before."""
    file.seek(start)
    for at in range(start, end, size):
        block = file.read(min(size, end - at))
        if len(block) < min(size, end - at):
            yield b""
            return
        yield block


class Weights:
    """Arrays of a model's tensors. Files stay mapped while this object or an array made from them lives.

    Args:
        model: external locations are relative to the folder of its file.
        allow_outside_data: read data files outside that folder too.
    """

    def __init__(self, model: ModelState, *, allow_outside_data: bool = False) -> None:
        self._model = model
        self._allow_outside = allow_outside_data
        self._maps: dict[str, memoryview] = {}
        self._tensors: dict[Scope, Mapping[str, onnx.TensorProto | onnx.SparseTensorProto]] = {}

    def find(self, graph: Scope, name: str) -> onnx.TensorProto | onnx.SparseTensorProto | None:
        """The initializer ``name`` as ``graph`` sees it: its own, else that of a scope around it."""
        scope: Scope | None = graph
        while scope is not None:
            tensors = self._tensors.get(scope)
            if tensors is None:
                found: list[onnx.TensorProto | onnx.SparseTensorProto] = []
                if isinstance(scope.proto, onnx.GraphProto):
                    found += scope.proto.initializer
                    found += scope.proto.sparse_initializer
                tensors = self._tensors[scope] = dict(zip(scope.initializers, found, strict=True))
            if name in tensors:
                return tensors[name]
            scope = scope.parent
        return None

    def read(self, graph: Scope, name: str) -> Array:
        """Value of the initializer ``name`` as ``graph`` sees it; external data is mapped, not copied.

        Raises:
            InputError: there is no such initializer, or its data can't be read.
        """
        tensor = self.find(graph, name)
        if tensor is None:
            raise InputError(f"{self._label}: {graph.scope} has no initializer {shown(name)!r}")
        return self.array(tensor)

    def array(self, tensor: onnx.TensorProto | onnx.SparseTensorProto) -> Array:
        """Value of a tensor; a sparse one is made dense.

        Raises:
            InputError: its data can't be read, or does not fit its type and shape.
        """
        if isinstance(tensor, onnx.SparseTensorProto):
            return self._dense(tensor)
        dims = tuple(tensor.dims)
        if any(dim < 0 for dim in dims):
            raise self._error(tensor, f"has a negative dimension: {list(dims)}")
        try:
            if tensor.data_location != EXTERNAL:
                return np.asarray(numpy_helper.to_array(tensor))
            dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
            if dtype.kind not in "biufc" or dtype.isbuiltin != 1 or not _whole_bytes(tensor.data_type):
                inline = onnx.TensorProto(dims=dims, data_type=tensor.data_type, raw_data=bytes(self.raw(tensor)))
                return np.asarray(numpy_helper.to_array(inline))
            data = self.raw(tensor, math.prod(dims) * dtype.itemsize)
            return np.frombuffer(data, dtype.newbyteorder("<")).reshape(dims)
        except (ValueError, TypeError, KeyError, RuntimeError, OverflowError) as error:
            raise self._error(
                tensor, f"can't be read: {str(error).splitlines()[0] if str(error) else error}"
            ) from error

    def raw(self, tensor: onnx.TensorProto, expected: int | None = None) -> memoryview:
        """The bytes of an external tensor, mapped; ``expected`` is their number where it is known.

        Raises:
            InputError: the file is missing, outside the model's folder, or too short.
        """
        ref = data_ref(tensor)
        data = self._mapped(ref.location)
        return data[ref.offset : self._end(tensor, ref, len(data), expected)]

    def stream(self, tensor: onnx.TensorProto, size: int) -> Iterator[bytes]:
        """The bytes of an external tensor in blocks of ``size``: read and not mapped, so that no more is held.

        Raises:
            InputError: as :meth:`raw`; or the file can't be read to the end.
        """
        ref = data_ref(tensor)
        path = self._path(ref.location)
        try:
            with open(path, "rb") as file:
                known = tensor.data_type in onnx.TensorProto.DataType.values()
                expected = tensor_bytes(tensor) if known else None
                end = self._end(tensor, ref, os.fstat(file.fileno()).st_size, expected)
                for block in blocks_of(file, ref.offset, end, size):
                    if not block:
                        raise self._error(tensor, f"ends at byte {end} of a file that became shorter", ref.location)
                    yield block
        except OSError as error:
            raise self._unreadable(path, error) from error

    def _end(self, tensor: onnx.TensorProto, ref: DataRef, size: int, expected: int | None) -> int:
        """Where a tensor's bytes end in a file of ``size`` bytes."""
        end = size
        if ref.length is not None:
            end = ref.offset + ref.length
        elif expected is not None:
            end = ref.offset + expected
        if expected is not None and end - ref.offset != expected:
            raise self._error(tensor, f"needs {expected} bytes and has {end - ref.offset}", ref.location)
        if not ref.offset <= end <= size:
            what = pointer(self._head(ref.location))
            raise self._error(tensor, f"ends at byte {end} of a file of {size}{what}", ref.location)
        return end

    def _head(self, location: str) -> bytes:
        with open(self._path(location), "rb") as stream:
            return stream.read(_POINTER)

    def size(self, tensor: onnx.TensorProto) -> int:
        """Number of bytes that an external tensor has in its file."""
        return len(self.raw(tensor))

    def _mapped(self, location: str) -> memoryview:
        found = self._maps.get(location)
        if found is not None:
            return found
        path = self._path(location)
        try:
            with open(path, "rb") as stream:
                size = os.fstat(stream.fileno()).st_size
                mapped = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) if size else b"")
        except (OSError, ValueError) as error:
            raise self._unreadable(path, error) from error
        self._maps[location] = mapped
        return mapped

    def _path(self, location: str) -> Path:
        if not self._allow_outside and is_outside(self._model, location):
            raise InputError(f"{self._label}: external data {shown(location)} is outside the model's folder")
        base = self._model.base_dir
        if base is None:
            raise InputError(f"{self._label}: external data {shown(location)}: the model was not read from a file")
        return base / location

    def _unreadable(self, path: Path, error: Exception) -> InputError:
        reason = getattr(error, "strerror", None) or error
        return InputError(f"{self._label}: external data {shown(str(path))}: {reason}")

    def _dense(self, tensor: onnx.SparseTensorProto) -> Array:
        values, indices = self.array(tensor.values), self.array(tensor.indices)
        dims = tuple(tensor.dims)
        try:
            dense: Array = np.zeros(dims, values.dtype)
            if indices.ndim == 1:
                dense.reshape(-1)[indices] = values
            else:
                dense[tuple(indices.T)] = values
        except (ValueError, IndexError, MemoryError) as error:
            raise self._error(tensor.values, f"can't be made dense: {error}") from error
        return dense

    def _error(self, tensor: onnx.TensorProto, message: str, location: str = "") -> InputError:
        where = f"{self._label}: {shown(location)}" if location else self._label
        return InputError(f"{where}: tensor {shown(text(tensor.name))!r} {message}")

    @property
    def _label(self) -> str:
        return str(self._model.path or "<model>")


def tensor_bytes(tensor: onnx.TensorProto) -> int:
    """Bytes that a tensor's elements take, those of fewer than 8 bits packed; nothing is read."""
    if tensor.data_type == onnx.TensorProto.STRING:
        return sum(map(len, tensor.string_data))
    if not is_element_type(tensor.data_type):
        return len(tensor.raw_data)  # of no type that ONNX has
    name = onnx.TensorProto.DataType.Name(tensor.data_type)
    packed = next((bits for prefix, bits in _PACKED.items() if name.startswith(prefix)), None)
    bits = packed or 8 * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return -(-math.prod(tensor.dims) * bits // 8)


def read_tensor(model: ModelState, graph: Scope, name: str) -> Array:
    """Value of one initializer; see :meth:`Weights.read`. Keep a :class:`Weights` to read several."""
    return Weights(model).read(graph, name)


def _whole_bytes(data_type: int) -> bool:
    name = onnx.TensorProto.DataType.Name(data_type)
    return not name.startswith(("INT4", "UINT4", "INT2", "UINT2", "FLOAT4", "FLOAT6", "FLOAT8", "BFLOAT16"))
