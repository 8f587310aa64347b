"""How far one array is from another, and how far it may be for the arithmetic that made it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from modelexport.ir.arrays import Array

_BLOCK = 1 << 20  # elements
# What is larger stands for infinity. A mask of -3.4e38 in a value hides all else in its norm: the scores of T5's
# decoder, which quantised numbers up to 3.4e38 hold none of, were in agreement.
_AS_INFINITE = 1e30


@dataclass(frozen=True, slots=True)
class Error:
    """A deviation.

    Attributes:
        relative: norm of the difference over the norm of the reference, over finite elements, without those that are
            beyond 1e30 in both; infinite where the elements that are not finite differ; of integers and booleans the
            share of elements that differ. With a reference of zeros it is the norm of the difference.
        max_abs: largest absolute difference of these elements; infinite where others differ.
    """

    relative: float
    max_abs: float


def deviation(candidate: Array, reference: Array) -> Error:
    """The error of ``candidate``; both have one shape. Computed in float64, in blocks."""
    if not reference.size:
        return Error(0.0, 0.0)
    one, other = candidate.reshape(-1), reference.reshape(-1)
    if candidate.dtype.kind in "iub" and reference.dtype.kind in "iub":
        return _share(one, other)
    square, norm, largest, infinite = 0.0, 0.0, 0.0, False
    for start in range(0, other.size, _BLOCK):
        x, y = _wide(one[start : start + _BLOCK]), _wide(other[start : start + _BLOCK])
        finite = np.isfinite(x) & np.isfinite(y)
        if not finite.all():
            odd = ~finite
            with np.errstate(invalid="ignore"):
                infinite |= bool(np.any((x[odd] != y[odd]) & ~(np.isnan(x[odd]) & np.isnan(y[odd]))))
            x, y = x[finite], y[finite]
        magnitude = np.abs(y)
        if magnitude.max(initial=0.0) > _AS_INFINITE:  # one pass, where a mask takes six
            kept = ~((magnitude > _AS_INFINITE) & (np.abs(x) > _AS_INFINITE) & (np.sign(x) == np.sign(y)))
            x, y, magnitude = x[kept], y[kept], magnitude[kept]
        apart = np.abs(x - y)
        largest = max(largest, float(apart.max(initial=0.0)))
        square += float(np.dot(apart, apart))
        norm += float(np.dot(magnitude, magnitude))
    if infinite:
        return Error(math.inf, math.inf)
    distance = math.sqrt(square)
    return Error(distance / math.sqrt(norm) if norm else distance, largest)


def _share(one: Array, other: Array) -> Error:
    differing, largest = 0, 0.0
    for start in range(0, other.size, _BLOCK):
        x, y = one[start : start + _BLOCK], other[start : start + _BLOCK]
        unequal = x != y
        count = int(np.count_nonzero(unequal))
        if count:
            differing += count
            apart = np.abs(x[unequal].astype(np.float64) - y[unequal].astype(np.float64))
            largest = max(largest, float(apart.max()))
    return Error(differing / other.size, largest)


def _wide(values: Array) -> Array:
    return values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)


def odd_values(array: Array) -> str:
    """``nan`` or ``inf`` where an array has such elements, else ""."""
    if array.dtype.kind not in "fc":
        return ""
    for start in range(0, array.size, _BLOCK):
        block = array.reshape(-1)[start : start + _BLOCK]
        if not np.isfinite(block).all():
            if any(np.isnan(array.reshape(-1)[at : at + _BLOCK]).any() for at in range(start, array.size, _BLOCK)):
                return "nan"
            return "inf"
    return ""
