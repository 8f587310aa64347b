"""constant-folding: compute at once what depends on constants alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
from onnx import numpy_helper

from modelexport.ir.arrays import Array
from modelexport.ir.facts import Fact
from modelexport.ir.graph import Graph
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.operators import Category, category
from modelexport.ir.scope import Scope
from modelexport.ir.text import text
from modelexport.passes.pipeline.base import Pass, PassContext, PassResult

_EXACT = (Category.SHAPE, Category.CAST, Category.MOVEMENT)
_EXACT_ON_INTEGERS = frozenset({"Add", "Sub", "Mul", "Neg", "Abs", "Max", "Min", "Sign"})
_PLAIN = frozenset(map(np.dtype, ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8")))


@dataclass(frozen=True)
class ConstantFolding(Pass):
    """Replace a node that reads only constants by a Constant of the same module, where all runtimes agree on its value.

    Folded are shape arithmetic, casts and data movement, and integer arithmetic; floating-point arithmetic is not,
    since runtimes round differently. Constants that nothing reads any more are removed.

    Attributes:
        max_bytes: size up to which a value is folded.
    """

    name: ClassVar[str] = "constant-folding"
    invalidates: ClassVar[frozenset[Fact]] = frozenset({Fact.EMBEDDED})
    metadata_only: ClassVar[bool] = False
    max_bytes: int = 65536

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        folded = removed = 0
        for graph in list(model.graphs()):
            known = _Constants(graph, self.max_bytes)
            stale: set[Node] = set()
            for node in list(graph.nodes):
                value = self._value(graph, node, known)
                if value is None:
                    continue
                stale.update(_producers(graph, node))
                self._fold(graph, node, value)
                known.values[node.first_output] = value
                folded += 1
            removed += _remove_unread(graph, stale)
        return PassResult(folded + removed, folded > 0, {"folded": folded, "removed": removed})

    def _value(self, graph: Graph, node: Node, known: _Constants) -> Array | None:
        if not _may_fold(node):
            return None
        inputs: list[Array | None] = []
        for name in node.inputs:
            value = known.find(name) if name else None
            if name and value is None:
                return None
            inputs.append(value)
        if node.op_type in _EXACT_ON_INTEGERS and any(v is not None and v.dtype.kind not in "iu" for v in inputs):
            return None
        if not any(value is not None for value in inputs):
            return None
        value = _evaluate(graph, node, inputs)
        if value is None or value.dtype not in _PLAIN or value.nbytes > self.max_bytes:
            return None
        source = inputs[0]
        if node.op_type == "Cast" and source is not None and source.dtype.kind == "f" and value.dtype.kind != "f":
            return value if np.array_equal(source, value) else None  # out of range nothing is defined
        return value

    def _fold(self, graph: Graph, node: Node, value: Array) -> None:
        spare = _free_name(graph, node.first_output)
        tensor = numpy_helper.from_array(value)
        constant = graph.insert("Constant", (), (spare,), name=node.name, attributes={"value": tensor}, inherit=(node,))
        graph.replace([node], constant)


class _Constants:
    """Values of the constants that a scope sees."""

    def __init__(self, graph: Graph, max_bytes: int) -> None:
        self.graph = graph
        self.max_bytes = max_bytes
        self.values: dict[str, Array | None] = {}
        self.tensors: dict[Scope, dict[str, onnx.TensorProto]] = {}

    def find(self, name: str) -> Array | None:
        """The value of ``name`` if it is a small constant, here or in a scope around."""
        if name not in self.values:
            self.values[name] = self._look_up(name)
        return self.values[name]

    def _look_up(self, name: str) -> Array | None:
        scope = self.graph.find(name)
        if scope is None:
            return None
        producer = scope.producer(name)
        if producer is not None:
            return constant_value(producer, self.max_bytes)
        if scope not in self.tensors:
            given = scope.proto.initializer if isinstance(scope.proto, onnx.GraphProto) else ()
            inputs = scope.inputs_set  # an initializer that is an input too can be overridden
            self.tensors[scope] = {text(t.name): t for t in given if text(t.name) not in inputs}
        tensor = self.tensors[scope].get(name)
        return _array(tensor, self.max_bytes) if tensor is not None else None


def constant_value(node: Node, max_bytes: int) -> Array | None:
    """The value of a Constant node, or None where it is none, is large, or is not of plain numbers."""
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
        return None
    protos = node.attribute_protos()
    if len(protos) != 1 or protos[0].ref_attr_name:
        return None
    found = protos[0]
    if found.name == "value":
        return _array(found.t, max_bytes)
    value: Array
    if found.name in ("value_int", "value_ints"):
        value = np.array(found.i if found.name == "value_int" else list(found.ints), dtype=np.int64)
    elif found.name in ("value_float", "value_floats"):
        value = np.array(found.f if found.name == "value_float" else list(found.floats), dtype=np.float32)
    else:
        return None
    return value if value.nbytes <= max_bytes else None


def _array(tensor: onnx.TensorProto, max_bytes: int) -> Array | None:
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.ByteSize() > 2 * max_bytes + 1024:
        return None
    if tensor.data_type in (onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING):
        return None
    value = numpy_helper.to_array(tensor)
    return value if value.dtype in _PLAIN and value.nbytes <= max_bytes else None


def _may_fold(node: Node) -> bool:
    if node.domain not in ("", "ai.onnx") or len(node.outputs) != 1 or not node.outputs[0] or node.bodies:
        return False
    if node.proto is None or any(a.ref_attr_name or a.HasField("g") for a in node.attribute_protos()):
        return False
    return node.op_type in _EXACT_ON_INTEGERS or category(node.op_type) in _EXACT


def _evaluate(graph: Graph, node: Node, inputs: list[Array | None]) -> Array | None:
    from onnx.reference import ReferenceEvaluator

    names = [f"i{index}" if value is not None else "" for index, value in enumerate(inputs)]
    single = onnx.NodeProto()
    assert node.proto is not None  # _may_fold looked
    single.op_type = node.op_type
    single.attribute.extend(node.attribute_protos())
    single.input.extend(names)
    single.output.append("o")
    feeds = {name: value for name, value in zip(names, inputs, strict=True) if value is not None}
    graph_proto = onnx.helper.make_graph(
        [single],
        "one",
        [onnx.helper.make_value_info(name, _any_type(value)) for name, value in feeds.items()],
        [onnx.helper.make_empty_tensor_value_info("o")],
    )
    try:
        with np.errstate(all="ignore"):
            outputs = ReferenceEvaluator(onnx.helper.make_model(graph_proto, opset_imports=_opsets(graph))).run(
                None, feeds
            )
    except Exception:  # noqa: BLE001 - the evaluator raises whatever numpy does; the node then simply stays
        return None
    value = outputs[0] if isinstance(outputs, list) else None
    return np.asarray(value) if isinstance(value, (np.ndarray, np.generic)) else None


def _any_type(value: Array) -> onnx.TypeProto:
    return onnx.helper.make_tensor_type_proto(onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)


def _opsets(graph: Graph) -> list[onnx.OperatorSetIdProto]:
    proto = graph.home.proto
    owner = proto if isinstance(proto, onnx.FunctionProto) else graph.model.proto
    return list(owner.opset_import)


def _producers(graph: Graph, node: Node) -> Iterator[Node]:
    for name in node.inputs:
        producer = graph.producer(name)
        if producer is not None:
            yield producer


def _remove_unread(graph: Graph, candidates: set[Node]) -> int:
    removed = 0
    for node in sorted(candidates, key=lambda node: -node.id):
        live = graph.producer(node.first_output) is node
        if live and node.op_type == "Constant" and not _is_read(graph, node):
            graph.remove(node)
            removed += 1
    return removed


def _is_read(graph: Graph, node: Node) -> bool:
    return any(value in graph.outputs or graph.consumers(value) for value in node.outputs if value)


def _free_name(graph: Graph, name: str) -> str:
    number = 0
    while graph.defines(f"{name}_folded_{number}"):
        number += 1
    return f"{name}_folded_{number}"
