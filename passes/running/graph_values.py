"""Running a graph to see its values: onnxruntime, chunk by chunk, so that memory stays bounded.

The main graph is cut into runs of nodes. Each becomes a small model whose outputs are all values its nodes make;
values that later chunks read are kept, everything else is dropped once the caller has seen it. The next chunk's length
follows from the size of the values of the last. A chunk that can't be run is halved until the nodes at fault are
alone; their values, and all that is computed from them, stay unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from modelexport.ir.arrays import Array
from modelexport.ir.editing.topology import in_order
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.text import shown
from modelexport.passes.evidence.values.initializers import Initializers
from modelexport.passes.running.session import (
    CPU,
    SessionSettings,
    onnxruntime,
    options,
    reason,
    run_errors,
    value_info,
)

OnValue = Callable[[str, Array], None]
_FIRST, _LONGEST = 32, 512
_EMBED = 1 << 16  # initializers up to this many bytes are put into the chunk's model, larger ones are fed


@dataclass(slots=True)
class RunReport:
    """What could not be run, by operator type, with the first message for each."""

    nodes: int = 0
    unknown: int = 0
    failures: dict[str, str] = field(default_factory=dict)


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
    return _Runner(model, on_value, chunk_bytes).run(feeds, progress)


class _Runner:
    def __init__(self, model: Model, on_value: OnValue, chunk_bytes: int) -> None:
        self.ort: Any = onnxruntime("value-attribution")
        self.errors = run_errors()
        self.model, self.graph, self.on_value = model, model.main, on_value
        self.chunk_bytes = max(chunk_bytes, 1 << 20)
        self.initializers = Initializers(model)
        self.live: dict[str, Any] = {}
        self.known: set[str] = set()
        self.report = RunReport()
        self.fails: dict[tuple[str, str], int] = {}
        self._cast: Any = None

    def run(self, feeds: Mapping[str, Array], progress: Callable[[int, int], None] | None) -> RunReport:
        order = in_order(self.graph)
        readers: dict[str, int] = {}
        for node in order:
            for value in {*node.inputs, *node.captures}:
                readers[value] = readers.get(value, 0) + 1
        for name, array in feeds.items():
            self.live[name] = self.ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
        self.report.nodes = len(order)
        start, length = 0, _FIRST
        while start < len(order):
            chunk = order[start : start + length]
            size = self._chunk(chunk)
            for node in chunk:
                for value in {*node.inputs, *node.captures}:
                    readers[value] -= 1
                    if not readers[value]:
                        self.live.pop(value, None)
            for node in chunk:
                for value in node.outputs:
                    if not readers.get(value):
                        self.live.pop(value, None)
            start += len(chunk)
            fitting = int(self.chunk_bytes / max(size / len(chunk), 1.0))
            length = max(1, min(fitting, 2 * length, _LONGEST))
            if progress is not None:
                progress(start, len(order))
        return self.report

    def _chunk(self, nodes: Sequence[Node]) -> int:
        """Run ``nodes``; returns the bytes of their values."""
        ready: list[Node] = []
        made: set[str] = set()
        for node in nodes:
            reads = {value for value in (*node.inputs, *node.captures) if value}
            fine = all(v in made or v in self.live or v in self.initializers for v in reads)
            if fine and self.fails.get((node.domain, node.op_type), 0) < 2:
                ready.append(node)
                made.update(value for value in node.outputs if value)
            else:
                self.report.unknown += 1
                for value in reads:
                    if self.graph.producer(value) is None and value not in self.live and value not in self.initializers:
                        self.report.failures.setdefault(node.op_type, f"reads {shown(value)!r}, which is not known")
        if not ready:
            return 0
        try:
            names, results = self._execute(ready)
        except self.errors as error:
            if len(ready) > 1:
                half = len(ready) // 2
                return self._chunk(ready[:half]) + self._chunk(ready[half:])
            node = ready[0]
            self.fails[node.domain, node.op_type] = self.fails.get((node.domain, node.op_type), 0) + 1
            self.report.failures.setdefault(node.op_type, reason(error))
            self.report.unknown += 1
            return 0
        size = 0
        for name, value in zip(names, results, strict=True):
            self.live[name] = value
            array = self._array(value)
            if array is not None:
                size += array.nbytes
                self.on_value(name, array)
        return size

    def _execute(self, nodes: Sequence[Node]) -> tuple[list[str], list[Any]]:
        made = list(dict.fromkeys(value for node in nodes for value in node.outputs if value))
        inside = set(made)
        reads = dict.fromkeys(v for node in nodes for v in (*node.inputs, *node.captures) if v and v not in inside)
        feeds: dict[str, Any] = {}
        inputs: list[onnx.ValueInfoProto] = []
        constants: list[onnx.TensorProto] = []
        for value in reads:
            held = self.live.get(value)
            if held is None:
                tensor = self.initializers.small(value, _EMBED)
                if tensor is not None:
                    constants.append(tensor)
                    continue
                held = self.ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(self.initializers.array(value)))
            feeds[value] = held
            inputs.append(value_info(value, held))
        graph = onnx.GraphProto(name="chunk")
        graph.node.extend(node.proto for node in nodes if node.proto is not None)
        graph.input.extend(inputs)
        graph.initializer.extend(constants)
        graph.output.extend(onnx.ValueInfoProto(name=value) for value in made)
        source = self.model.proto
        model = onnx.ModelProto(ir_version=max(source.ir_version, 8), graph=graph)
        model.opset_import.extend(source.opset_import)
        model.functions.extend(source.functions)
        session = self.ort.InferenceSession(
            model.SerializeToString(), sess_options=options(SessionSettings()), providers=[CPU]
        )
        return made, session.run_with_ort_values(made, feeds)

    def _array(self, value: Any) -> Array | None:
        if not value.has_value() or not value.is_tensor():
            return None
        if value.data_type() == "tensor(bfloat16)":
            if self._cast is None:
                node = onnx.helper.make_node("Cast", ["x"], ["y"], to=onnx.TensorProto.FLOAT)
                kinds = (onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT)
                x, y = (onnx.helper.make_tensor_value_info(n, k, None) for n, k in zip("xy", kinds, strict=True))
                proto = onnx.helper.make_model(
                    onnx.helper.make_graph([node], "cast", [x], [y]),
                    ir_version=8,
                    opset_imports=[onnx.helper.make_opsetid("", 13)],
                )
                self._cast = self.ort.InferenceSession(proto.SerializeToString(), providers=[CPU])
            value = self._cast.run_with_ort_values(["y"], {"x": value})[0]
        try:
            array: Array = value.numpy()
        except self.errors:
            return None  # an element type NumPy does not have
        return array if array.dtype.kind in "biufc" else None


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
