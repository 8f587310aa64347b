"""Two constants compared element by element, in blocks, so that memory stays bounded whatever their size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx
from onnx import numpy_helper

from modelexport.analysis.difference.sources import KNOWN, Constant, Side
from modelexport.ir.arrays import Array
from modelexport.ir.io.weights import tensor_bytes

_BLOCK = 1 << 20  # elements


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far one tensor is from another.

    Attributes:
        elements: number of elements; of the first where the shapes differ.
        differing: elements outside the tolerance; None where shapes or types can't be compared.
        max_abs: largest absolute difference of finite elements, infinity where one side is not finite alone.
        rel_l2: norm of the difference over the norm of the first tensor; infinity where that is zero.
    """

    elements: int
    differing: int | None
    max_abs: float | None
    rel_l2: float | None


def compare(
    a: Side, left: Constant, b: Side, right: Constant, atol: float = 0.0, rtol: float = 0.0
) -> Deviation | None:
    """How two constants differ; None where they don't: ``|x - y| <= atol + rtol * |y|`` for every element.

    NaN equals NaN. Tensors of other shapes or element types differ always.

    Raises:
        InputError: the data of one can't be read.
    """
    elements = math.prod(left.shape)
    if left.shape != right.shape or left.dtype != right.dtype:
        return Deviation(elements, None, None, None)
    if left.dtype not in KNOWN:  # of a later version of ONNX: nothing but the bytes can be compared
        same = b"".join(map(bytes, a.blocks(left))) == b"".join(map(bytes, b.blocks(right)))
        return None if same else Deviation(elements, None, None, None)
    one, other = _Elements(a, left), _Elements(b, right)
    if one.is_text:
        differing = int(np.count_nonzero(one.whole() != other.whole()))
        return Deviation(elements, differing, None, None) if differing else None
    pairs = zip(one.blocks(), other.blocks(), strict=True)
    if all(np.array_equal(x.view(np.uint8), y.view(np.uint8)) for x, y in pairs):
        return None
    return _numbers(one, other, atol, rtol)


class _Elements:
    """A constant's elements, block by block and as often as asked. Data in a file is read anew each time."""

    def __init__(self, side: Side, constant: Constant) -> None:
        self._side, self._constant, self._tensor = side, constant, constant.tensor
        self._data: bytes | None = None
        self._array: Array | None = None
        self.is_text = constant.dtype == onnx.TensorProto.STRING
        if not self.is_text and not side.is_in_file(constant):
            if isinstance(constant.tensor, onnx.TensorProto) and constant.tensor.HasField("raw_data"):
                self._data = constant.tensor.raw_data
                fits = constant.dtype in KNOWN and len(self._data) == tensor_bytes(constant.tensor)
                self._data = self._data if fits else None
            if self._data is None:
                self._array = np.ascontiguousarray(self.whole())

    def whole(self) -> Array:
        """All elements, flat. Raises InputError."""
        return self._side.weights.array(self._tensor).reshape(-1)

    def blocks(self) -> Iterator[Array]:
        """Some elements at a time; blocks of two constants of one type and shape are of one size."""
        if self._array is not None:
            yield from (self._array[start : start + _BLOCK] for start in range(0, self._array.size, _BLOCK))
            return
        tensor = self._tensor
        assert isinstance(tensor, onnx.TensorProto)
        left = math.prod(tensor.dims)
        for data in self._bytes(tensor):
            count = min(left, 8 * len(data) // _bits(tensor.data_type))
            left -= count
            dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
            if dtype.isbuiltin == 1 and _bits(tensor.data_type) == 8 * dtype.itemsize:
                yield np.frombuffer(data, dtype.newbyteorder("<"))
            else:
                part = onnx.TensorProto(dims=[count], data_type=tensor.data_type, raw_data=bytes(data))
                yield np.ascontiguousarray(numpy_helper.to_array(part))

    def _bytes(self, tensor: onnx.TensorProto) -> Iterator[bytes | memoryview]:
        size = _BLOCK * max(_bits(tensor.data_type), 8) // 8
        if self._data is None:
            yield from self._side.stream(self._constant, size)
            return
        data = memoryview(self._data)
        yield from (data[start : start + size] for start in range(0, len(data), size))


@cache
def _bits(data_type: int) -> int:
    """Bits that one element takes."""
    return tensor_bytes(onnx.TensorProto(data_type=data_type, dims=[8]))


def _numbers(one: _Elements, other: _Elements, atol: float, rtol: float) -> Deviation | None:
    elements, differing, largest, square, norm = 0, 0, 0.0, 0.0, 0.0
    for left, right in zip(one.blocks(), other.blocks(), strict=True):
        elements += left.size
        x = _wide(left)
        magnitude = np.abs(x)
        if not np.isfinite(magnitude).all():
            magnitude = np.where(np.isfinite(magnitude), magnitude, 0.0)
        norm += float(np.dot(magnitude, magnitude))
        if np.array_equal(left.view(np.uint8), right.view(np.uint8)):
            continue
        y = _wide(right)
        with np.errstate(invalid="ignore", over="ignore"):
            apart = np.abs(x - y)
            same = (x == y) | (np.isnan(x) & np.isnan(y))
            apart[same] = 0.0
            apart[np.isnan(apart)] = math.inf
            outside = ~same & (~(apart <= atol + rtol * np.abs(y)) | ~np.isfinite(apart))
            differing += int(np.count_nonzero(outside))
            largest = max(largest, float(apart.max(initial=0.0)))
            square += float(np.square(apart, dtype=np.float64).sum())
    if not differing:
        return None
    relative = math.sqrt(square) / math.sqrt(norm) if norm else math.inf
    return Deviation(elements, differing, largest, relative)


def _wide(values: Array) -> Array:
    if values.dtype.kind == "c":
        return values.astype(np.complex128)
    if values.dtype.itemsize == 8 and values.dtype.kind in "iu":
        return values.astype(np.longdouble)
    return values.astype(np.float64)
