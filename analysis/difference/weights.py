"""Two constants compared element by element, in blocks, so that memory stays bounded whatever their size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from modelexport.analysis.difference.sources import Constant, Side
from modelexport.ir.arrays import Array

_BLOCK = 1 << 20  # elements


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far one tensor is from another.

    Attributes:
        elements: number of elements; of the first where the shapes differ.
        differing: elements outside the tolerance; None where shapes or types can't be compared.
        max_abs: largest absolute difference of finite elements, infinity where one side is not finite alone.
        rel_l2: norm of the difference over the norm of the first tensor.
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
    if _same_bytes(a, left, b, right):
        return None
    one, other = a.weights.array(left.tensor), b.weights.array(right.tensor)
    if one.dtype.kind in "OUS":
        differing = int(np.count_nonzero(one != other))
        return Deviation(elements, differing, None, None) if differing else None
    return _numbers(one.reshape(-1), other.reshape(-1), atol, rtol)


def _same_bytes(a: Side, left: Constant, b: Side, right: Constant) -> bool:
    mine, theirs = a.blocks(left), b.blocks(right)
    if len(mine) != len(theirs):
        return False
    pairs = zip(mine, theirs, strict=True)  # as arrays: memoryviews are compared element by element
    return all(
        len(x) == len(y) and np.array_equal(np.frombuffer(x, np.uint8), np.frombuffer(y, np.uint8)) for x, y in pairs
    )


def _numbers(one: Array, other: Array, atol: float, rtol: float) -> Deviation | None:
    differing, largest, square, norm = 0, 0.0, 0.0, 0.0
    for start in range(0, one.size, _BLOCK):
        left, right = one[start : start + _BLOCK], other[start : start + _BLOCK]
        x = _wide(left)
        magnitude = np.abs(x)
        if not np.isfinite(magnitude).all():
            magnitude = np.where(np.isfinite(magnitude), magnitude, 0.0)
        norm += float(np.dot(magnitude, magnitude))
        if left.tobytes() == right.tobytes():
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
    relative = math.sqrt(square) / math.sqrt(norm) if norm else math.sqrt(square)
    return Deviation(one.size, differing, largest, relative)


def _wide(values: Array) -> Array:
    if values.dtype.kind == "c":
        return values.astype(np.complex128)
    if values.dtype.itemsize == 8 and values.dtype.kind in "iu":
        return values.astype(np.longdouble)
    return values.astype(np.float64)
