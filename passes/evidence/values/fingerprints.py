"""Fingerprints: what is kept of a computed value so that it can be recognised elsewhere.

``stats`` do not depend on the order of elements, so a value is recognised through transposes; ``samples`` are elements
at fixed places of the flattened array, so they tell transposes apart and allow a comparison of values that agree only
roughly (half precision, quantisation).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from modelexport.ir.arrays import Array
from modelexport.ir.io.trace_file import SAMPLES, STATS

_BLOCK = 1 << 15  # elements that are worked on at a time: they stay in the processor's cache
NUMEL, SUM, SQUARES, MAGNITUDE, LEAST, GREATEST, STRANGE = range(STATS)


@lru_cache(maxsize=4096)
def places(numel: int) -> Array:
    """Where samples are taken: spread over the array, by the golden ratio so that no period of the data is hit."""
    spread = (np.arange(SAMPLES) + 0.5) * 0.6180339887498949 % 1.0
    return np.minimum((spread * numel).astype(np.int64), max(numel - 1, 0))


def fingerprint(array: Array) -> tuple[Array, Array]:
    """(stats, samples) of a numeric or boolean array. Complex numbers count as pairs; an empty array is fine."""
    if np.iscomplexobj(array):
        array = np.ascontiguousarray(array).view(array.real.dtype)
    flat = array.reshape(-1)
    stats = np.zeros(STATS)
    samples = np.zeros(SAMPLES, np.float32)
    stats[NUMEL] = flat.size
    if not flat.size:
        return stats, samples
    with np.errstate(over="ignore", invalid="ignore"):
        samples[:] = np.nan_to_num(flat[places(flat.size)].astype(np.float32), posinf=3e38, neginf=-3e38)
        stats[LEAST], stats[GREATEST] = np.inf, -np.inf
        for start in range(0, flat.size, _BLOCK):
            _add(stats, flat[start : start + _BLOCK].astype(np.float64))
    if stats[LEAST] > stats[GREATEST]:
        stats[LEAST] = stats[GREATEST] = 0.0
    return stats, samples


def _add(stats: Array, block: Array) -> None:
    """Take the finite elements of ``block`` into ``stats``."""
    least, greatest = block.min(), block.max()
    if not (np.isfinite(least) and np.isfinite(greatest)):
        finite = np.isfinite(block)
        stats[STRANGE] += block.size - int(finite.sum())
        block = block[finite]
        if not block.size:
            return
        least, greatest = block.min(), block.max()
    stats[SUM] += block.sum()
    stats[SQUARES] += np.einsum("i,i->", block, block)  # not dot: BLAS would start threads for it
    stats[MAGNITUDE] += np.abs(block, out=block).sum()
    stats[LEAST], stats[GREATEST] = min(stats[LEAST], least), max(stats[GREATEST], greatest)


def row_samples(array: Array) -> Array:
    """Samples after each row of the first axis was divided by its length; zeros for fewer than two axes."""
    if array.ndim < 2 or not array.size:
        return np.zeros(SAMPLES, np.float32)
    rows = array.reshape(array.shape[0], -1).astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return fingerprint(rows / np.where(lengths > 0, lengths, 1.0))[1]


def unknown() -> tuple[Array, Array]:
    """The fingerprint of a value that is not known."""
    return np.full(STATS, np.nan), np.zeros(SAMPLES, np.float32)


def is_rich(stats: Array) -> bool:
    """Whether chance equality is out of the question: several elements, not small whole numbers, not constant."""
    if not stats[NUMEL] >= 4 or stats[LEAST] == stats[GREATEST]:
        return False
    whole = stats[SUM] == np.round(stats[SUM]) and stats[SQUARES] == np.round(stats[SQUARES])
    return not whole or bool(stats[GREATEST] - stats[LEAST] > 64 and stats[NUMEL] > 16)


def close(left: Array, right: Array, rtol: float) -> bool:
    """Whether two ``stats`` belong to the same elements, in any order."""
    if left[NUMEL] != right[NUMEL] or left[STRANGE] != right[STRANGE]:
        return False
    scale = max(abs(left[MAGNITUDE]), abs(right[MAGNITUDE]))
    top = max(abs(left[LEAST]), abs(left[GREATEST]), abs(right[LEAST]), abs(right[GREATEST]))
    return bool(
        abs(left[SUM] - right[SUM]) <= rtol * scale + 1e-12
        and abs(left[MAGNITUDE] - right[MAGNITUDE]) <= rtol * scale + 1e-12
        and abs(left[SQUARES] - right[SQUARES]) <= 2 * rtol * max(left[SQUARES], right[SQUARES]) + 1e-12
        and abs(left[LEAST] - right[LEAST]) <= 4 * rtol * top + 1e-9
        and abs(left[GREATEST] - right[GREATEST]) <= 4 * rtol * top + 1e-9
    )


def close_rows(rows: Array, one: Array, rtol: float) -> Array:
    """For every row of ``rows`` (n, STATS) whether it is ``close`` to ``one`` (STATS): n booleans."""
    scale = np.maximum(np.abs(rows[:, MAGNITUDE]), abs(one[MAGNITUDE]))
    top = np.maximum(np.abs(rows[:, (LEAST, GREATEST)]).max(axis=1, initial=0.0), np.abs(one[[LEAST, GREATEST]]).max())
    far = np.abs(rows - one)
    found: Array = (
        (far[:, NUMEL] == 0)
        & (far[:, STRANGE] == 0)
        & (far[:, SUM] <= rtol * scale + 1e-12)
        & (far[:, MAGNITUDE] <= rtol * scale + 1e-12)
        & (far[:, SQUARES] <= 2 * rtol * np.maximum(rows[:, SQUARES], one[SQUARES]) + 1e-12)
        & (far[:, LEAST] <= 4 * rtol * top + 1e-9)
        & (far[:, GREATEST] <= 4 * rtol * top + 1e-9)
    )
    return found


def similarity(left: Array, right: Array) -> float:
    """1 for equal samples, about 0 for unrelated ones: 1 - distance / length, at least 0."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    scale = max(float(np.linalg.norm(a)), float(np.linalg.norm(b)))
    if scale == 0.0:
        return 1.0
    return max(0.0, 1.0 - float(np.linalg.norm(a - b)) / scale)
