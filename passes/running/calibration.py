"""Calibration samples for a model's inputs, from an npz file or a trace."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from modelexport.ir.arrays import Array
from modelexport.ir.errors import InputError
from modelexport.ir.io.trace_file import load_trace
from modelexport.ir.model import Model
from modelexport.passes.running.inputs import InputInfo, model_inputs, read_npz

Samples = list[dict[str, Array]]


def read_samples(path: Path, model: Model) -> Samples:
    """One dictionary by input name per sample.

    Raises:
        InputError: the file can't be read, a name is missing or too much, or an array does not fit its input; the
            message lists both sides.
    """
    inputs = model_inputs(model)
    if path.suffix == ".htptrace":
        return _of_trace(path, inputs)
    arrays = read_npz(path)
    if set(arrays) != {info.name for info in inputs}:
        raise InputError(f"{path}: {_sides(arrays, inputs)}")
    counts: dict[str, int | None] = {info.name: _count(path, arrays, inputs, info) for info in inputs}
    numbers = {count for count in counts.values() if count is not None}
    if len(numbers) > 1 or (numbers and None in counts.values()):
        shown = ", ".join(f"{name} {count if count is not None else 1}" for name, count in counts.items())
        raise InputError(f"{path}: the arrays don't agree on the number of samples: {shown}; {_sides(arrays, inputs)}")
    if not numbers:
        return [dict(arrays)]
    return [{name: array[index] for name, array in arrays.items()} for index in range(numbers.pop())]


def _of_trace(path: Path, inputs: list[InputInfo]) -> Samples:
    """The example inputs of a trace: matched by name, else by position where number, types and ranks agree."""
    examples = load_trace(path).examples
    if not examples:
        raise InputError(f"{path}: the trace has no example inputs")
    names = {info.name for info in inputs}
    samples: Samples = []
    for example in examples:
        arrays = dict(example)
        if set(arrays) != names:
            pairs = list(zip(arrays.values(), inputs, strict=False))
            if len(arrays) != len(inputs) or not all(_alike(array, info) for array, info in pairs):
                raise InputError(f"{path}: {_sides(arrays, inputs)}")
            arrays = {info.name: array for array, info in pairs}
        for info in inputs:
            if _count(path, arrays, inputs, info) is not None:
                raise InputError(f"{path}: {info.name} has another rank; {_sides(arrays, inputs)}")
        samples.append({info.name: arrays[info.name] for info in inputs})
    return samples


def _alike(array: Array, info: InputInfo) -> bool:
    same_type = not info.elem_type or array.dtype == np.dtype(onnx.helper.tensor_dtype_to_np_dtype(info.elem_type))
    return same_type and (info.dims is None or array.ndim == len(info.dims))


def _count(path: Path, arrays: Mapping[str, Array], inputs: list[InputInfo], info: InputInfo) -> int | None:
    """The number of samples along the first axis; None where the array is one sample."""
    array = arrays[info.name]
    if info.elem_type and array.dtype != np.dtype(onnx.helper.tensor_dtype_to_np_dtype(info.elem_type)):
        raise InputError(f"{path}: {info.name} has another element type; {_sides(arrays, inputs)}")
    if info.dims is None:
        return None
    many = array.ndim == len(info.dims) + 1
    shape = array.shape[1:] if many else array.shape
    fits = len(shape) == len(info.dims) and all(
        not isinstance(dim, int) or dim == size for dim, size in zip(info.dims, shape, strict=True)
    )
    if not fits or (many and not len(array)):
        raise InputError(f"{path}: {info.name} has another shape; {_sides(arrays, inputs)}")
    return len(array) if many else None


def _sides(arrays: Mapping[str, Array], inputs: list[InputInfo]) -> str:
    has = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in arrays.items()) or "nothing"
    return f"the file has {has}; the model has {', '.join(map(_described, inputs)) or 'no inputs'}"


def _described(info: InputInfo) -> str:
    kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(info.elem_type)) if info.elem_type else "unknown"
    dims = ", ".join("?" if dim is None else str(dim) for dim in info.dims) if info.dims is not None else "..."
    return f"{info.name} {kind}[{dims}]"
