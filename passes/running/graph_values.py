"""Running a graph to see its values, and giving it the inputs of an example."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx

from modelexport.ir.arrays import Array
from modelexport.ir.model import Model
from modelexport.passes.running.stepping import Reader, RunReport, SteppedRun

OnValue = Callable[[str, Array], None]


def run_graph(
    model: Model,
    feeds: Mapping[str, Array],
    on_value: OnValue,
    *,
    chunk_bytes: int = 256 << 20,
    progress: Callable[[int, int], None] | None = None,
) -> RunReport:
    """Compute the main graph over ``feeds`` and hand every value that a node makes to ``on_value(name, array)``.

    Raises:
        MissingExtraError: onnxruntime is not installed.
    """
    run = SteppedRun(model, feeds, chunk_bytes=chunk_bytes, what="value-attribution")
    reader = Reader()
    while not run.done:
        for name, value in run.step().items():
            array = reader.array(value)
            if array is not None:
                on_value(name, array)
        if progress is not None:
            progress(run.position, len(run.order))
    return run.report


def fit_inputs(model: Model, example: Mapping[str, Array]) -> tuple[dict[str, Array], list[str]]:
    """The example's arrays as inputs of the graph: by name, else by position among those of fitting type and shape.

    Returns (feeds, problems).
    """
    weights = model.main.initializers_set
    proto = model.main.proto
    wanted = [v for v in proto.input if v.name not in weights] if isinstance(proto, onnx.GraphProto) else []
    feeds: dict[str, Array] = {}
    problems: list[str] = []
    rest = dict(example)
    for value in wanted:
        if value.name in rest and (array := _as(value, rest[value.name])) is not None:
            feeds[value.name] = array
            del rest[value.name]
    for value in wanted:
        if value.name in feeds:
            continue
        for name, candidate in rest.items():
            array = _as(value, candidate)
            if array is not None:
                feeds[value.name] = array
                del rest[name]
                break
        else:
            problems.append(f"input {value.name!r}: no traced input fits it")
    return feeds, problems


def _as(value: onnx.ValueInfoProto, array: Array) -> Array | None:
    """``array`` with the element type that the input asks for; None where type or shape don't fit."""
    if not value.type.HasField("tensor_type"):
        return None
    kind = value.type.tensor_type
    if kind.HasField("shape"):
        dims = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
        if len(dims) != array.ndim or any(d is not None and d != n for d, n in zip(dims, array.shape, strict=True)):
            return None
    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    except KeyError:
        return None
    if dtype == array.dtype:
        return array
    groups = ("iub", "f")
    return array.astype(dtype) if any(dtype.kind in g and array.dtype.kind in g for g in groups) else None
