"""Shapes as a file states them or onnx's inference finds them, scope by scope, and how often a body runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper

from modelexport.ir.proto.building import body_protos
from modelexport.ir.proto.inference import inferred_copy
from modelexport.passes.running.values import NO_TENSOR, Execution, Value

_UNKNOWN = Value(0, None)
_BRANCH = "which branch runs is not known without a run"
_TIMES = "how often its body runs is not known without a run"
_SMALL = 1024


Dims = tuple[int, ...]


class StaticNode(NamedTuple):
    """A node, with its names read once: protobuf hands out each anew."""

    proto: onnx.NodeProto
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(slots=True)
class StaticScope:
    """One graph of a model whose functions are inlined.

    Attributes:
        nodes: its nodes in file order.
        runs: how often it runs in all; None where that is not known, for ``reason``.
        replaced: whether onnxruntime may replace the operator that runs it, so that a run does not show its nodes.
    """

    nodes: Sequence[StaticNode]
    parent: StaticScope | None
    runs: int | None = 1
    reason: str = ""
    replaced: bool = False
    values: dict[str, Value] = field(default_factory=dict)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether the sizes of every value that its nodes make, and how often it runs, are known."""
        if self.runs == 0:
            return True
        values = self.values
        open_ones = {name for name, value in values.items() if value.dims is None and value.elem_type != NO_TENSOR}
        return self.runs is not None and (
            not open_ones or open_ones.isdisjoint(name for node in self.nodes for name in node.outputs)
        )

    def value(self, name: str) -> Value | None:
        """The value as this scope sees it; None for an absent slot."""
        if not name:
            return None
        scope: StaticScope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            scope = scope.parent
        return _UNKNOWN

    def constant(self, name: str) -> np.ndarray[Any, Any] | None:
        """The content of a small constant; None for anything else."""
        scope: StaticScope | None = self
        while scope is not None:
            tensor = scope.constants.get(name)
            if tensor is not None:
                try:
                    return np.asarray(numpy_helper.to_array(tensor))
                except (ValueError, TypeError):
                    return None
            if name in scope.values:
                return None
            scope = scope.parent
        return None

    def execution(self, node: StaticNode) -> Execution:
        """What is known of a node's executions."""
        known, value = self.values, self.value
        return Execution(
            self.runs,
            tuple([known[name] if name in known and name else value(name) for name in node.inputs]),
            tuple([known[name] if name in known and name else value(name) for name in node.outputs]),
            self.reason,
        )


def read_scopes(proto: onnx.ModelProto, sizes: Mapping[str, tuple[int, ...]]) -> list[StaticScope]:
    """Every scope of a model, each before those in it; graph inputs have the given sizes."""
    found: list[StaticScope] = []
    main = _read(proto.graph, None, 1, "", found)
    for name, dims in sizes.items():
        known = main.values.get(name, _UNKNOWN)
        main.values[name] = Value(known.elem_type, dims)
    for scope in found[:1]:
        _read_bodies(scope, found)
    return found


def may_be_complete(graph: onnx.GraphProto, makers: int) -> bool:
    """Whether it is worth looking for every value's sizes in a graph: it describes as many values as it has nodes that
    make one, the first ones with all sizes."""
    if len(graph.value_info) + len(graph.output) < makers:
        return False
    firsts = [_value(entry.type) for entry in graph.value_info[:8]]
    return not any(value is not None and value.is_tensor and value.dims is None for value in firsts)


def forget_sizes(graph: onnx.GraphProto, has_bodies: bool = True) -> list[dict[str, Dims]]:
    """Take away the sizes that a graph and its bodies state of values that nodes make; types stay.

    Returns:
        What they stated in full, graph by graph, in the order of ``read_scopes``.
    """
    stated: dict[str, Dims] = {}
    for entries in (graph.value_info, graph.output):
        for entry in entries:
            value = _value(entry.type)
            if value is not None and value.is_tensor:
                if value.dims is not None:
                    stated[entry.name] = value.dims
                entry.type.tensor_type.ClearField("shape")
    found = [stated]
    for node in graph.node if has_bodies else ():
        for _, body in body_protos(node) if node.attribute else ():
            found += forget_sizes(body)
    return found


def fill_in(scopes: Sequence[StaticScope], stated: Sequence[Mapping[str, Dims]]) -> None:
    """Put sizes that a file states where none are known."""
    for scope, sizes in zip(scopes, stated, strict=True):
        for name, dims in sizes.items():
            known = scope.values.get(name, _UNKNOWN)
            if known.dims is None and known.elem_type != NO_TENSOR:
                scope.values[name] = Value(known.elem_type, dims)


def _read(
    graph: onnx.GraphProto, parent: StaticScope | None, runs: int | None, reason: str, found: list[StaticScope]
) -> StaticScope:
    nodes = [StaticNode(node, node.name, tuple(node.input[:]), tuple(node.output[:])) for node in graph.node]
    scope = StaticScope(nodes, parent, runs, reason)
    values = scope.values
    types: dict[bytes, Value | None] = {}
    for entries in (graph.input, graph.output, graph.value_info):
        for entry in entries:
            name, stated = entry.name, entry.type
            spelled = stated.SerializePartialToString()  # a graph has few different types
            if spelled not in types:
                types[spelled] = _value(stated)
            value = types[spelled]
            if value is not None and (name not in values or values[name].dims is None):
                values[name] = value
    kinds: dict[tuple[int, tuple[int, ...]], Value] = {}
    for tensor in graph.initializer:
        name, dims = tensor.name, tuple(tensor.dims[:])
        kind = tensor.data_type, dims
        value = values[name] = kinds.get(kind) or kinds.setdefault(kind, Value(*kind))
        if (value.elements or 0) <= _SMALL and tensor.data_location != onnx.TensorProto.EXTERNAL:
            scope.constants[name] = tensor
    for sparse in graph.sparse_initializer:
        values[sparse.values.name] = Value(sparse.values.data_type, tuple(sparse.dims))
    for node in scope.nodes:
        if node.proto.op_type == "Constant" and node.outputs:
            _read_constant(node, scope)
        else:
            for name in node.outputs:
                if name and name not in values:
                    values[name] = _UNKNOWN  # it hides an outer value of that name
    found.append(scope)
    return scope


def _read_constant(node: StaticNode, scope: StaticScope) -> None:
    for attribute in node.proto.attribute:
        tensor = constant_tensor(attribute)
        if tensor is not None:
            scope.values[node.outputs[0]] = Value(tensor.data_type, tuple(tensor.dims))
            scope.constants[node.outputs[0]] = tensor


def constant_tensor(attribute: onnx.AttributeProto) -> onnx.TensorProto | None:
    """What a Constant makes of one of its attributes; None for what is no dense tensor."""
    kinds = onnx.TensorProto
    if attribute.name == "value":
        return attribute.t
    made: dict[str, tuple[int, list[int], list[Any]]] = {
        "value_float": (kinds.FLOAT, [], [attribute.f]),
        "value_int": (kinds.INT64, [], [attribute.i]),
        "value_string": (kinds.STRING, [], [attribute.s]),
        "value_floats": (kinds.FLOAT, [len(attribute.floats)], list(attribute.floats)),
        "value_ints": (kinds.INT64, [len(attribute.ints)], list(attribute.ints)),
        "value_strings": (kinds.STRING, [len(attribute.strings)], list(attribute.strings)),
    }
    if attribute.name not in made:
        return None
    kind, dims, content = made[attribute.name]
    return onnx.helper.make_tensor("", kind, dims, content)


def _value(kind: onnx.TypeProto) -> Value | None:
    if kind.HasField("tensor_type"):
        tensor = kind.tensor_type
        dims: tuple[int, ...] | None = None
        if tensor.HasField("shape") and all(d.HasField("dim_value") and d.dim_value >= 0 for d in tensor.shape.dim):
            dims = tuple(d.dim_value for d in tensor.shape.dim)
        return Value(tensor.elem_type, dims)
    return Value(NO_TENSOR, None) if kind.WhichOneof("value") is not None else None


def _read_bodies(scope: StaticScope, found: list[StaticScope]) -> None:
    for static in scope.nodes:
        node = static.proto
        for label, body in body_protos(node) if node.attribute else ():
            runs, reason = scope.runs, scope.reason
            if runs != 0:
                times, why = _times(node, label, body, scope)
                if times is None or runs is None:
                    runs, reason = (0, "") if times == 0 else (None, reason or why)
                else:
                    runs *= times
            inner = _read(body, scope, runs, reason, found)
            inner.replaced = scope.replaced or node.op_type not in ("If", "Loop", "Scan")
            if node.op_type == "Scan" and node.domain in ("", "ai.onnx"):
                _scan_inputs(node, body, scope, inner)
            _read_bodies(inner, found)


def _times(node: onnx.NodeProto, label: str, body: onnx.GraphProto, scope: StaticScope) -> tuple[int | None, str]:
    """How often a body runs at each execution of its node."""
    if node.op_type == "If":
        condition = scope.constant(node.input[0]) if node.input else None
        if condition is None:
            return None, _BRANCH
        return int(bool(condition.any()) == (label == "then_branch")), ""
    if node.op_type == "Loop" and len(node.input) >= 2 and len(body.input) >= 2 and body.output:
        limit = scope.constant(node.input[0]) if node.input[0] else None
        if limit is None or limit.size != 1:
            return None, _TIMES
        start = scope.constant(node.input[1]) if node.input[1] else np.array(True)
        if start is None:
            return None, _TIMES
        if not start.any() and node.input[1]:
            return 0, ""
        return (max(0, int(limit.reshape(-1)[0])), "") if _goes_on(body) else (None, _TIMES)
    if node.op_type == "Scan":
        lengths = _scan_lengths(node, scope)
        return (lengths, "") if lengths is not None else (None, _TIMES)
    return None, _TIMES


def _goes_on(body: onnx.GraphProto) -> bool:
    """Whether a Loop's body always says to go on: its condition is passed through or constantly true."""
    makers = {name: node for node in body.node for name in node.output}
    name = body.output[0].name
    for _ in range(len(body.node) + 1):
        if name == body.input[1].name:
            return True
        if any(tensor.name == name and numpy_helper.to_array(tensor).all() for tensor in body.initializer):
            return True
        node = makers.get(name)
        if node is None:
            return False
        if node.op_type == "Constant":
            tensors = [t for a in node.attribute if (t := constant_tensor(a)) is not None]
            return bool(tensors) and bool(np.all(numpy_helper.to_array(tensors[0])))
        if node.op_type not in ("Identity", "Cast"):
            return False
        name = node.input[0]
    return False


def _scanned(node: onnx.NodeProto, scope: StaticScope) -> tuple[list[str], list[int]] | None:
    """Values that a Scan scans, each with its axis."""
    attributes = {attribute.name: attribute for attribute in node.attribute}
    if "num_scan_inputs" not in attributes:
        return None
    number = attributes["num_scan_inputs"].i
    names = list(node.input)[len(node.input) - number :]
    axes = list(attributes["scan_input_axes"].ints) if "scan_input_axes" in attributes else [0] * number
    return (names, axes) if len(axes) == len(names) else None


def _scan_lengths(node: onnx.NodeProto, scope: StaticScope) -> int | None:
    scanned = _scanned(node, scope)
    for name, axis in zip(*scanned, strict=True) if scanned is not None else ():
        value = scope.value(name)
        if value is not None and value.dims is not None and -len(value.dims) <= axis < len(value.dims):
            return value.dims[axis]
    return None


def _scan_inputs(node: onnx.NodeProto, body: onnx.GraphProto, scope: StaticScope, inner: StaticScope) -> None:
    """What a Scan's body reads is one slice of what is scanned."""
    scanned = _scanned(node, scope)
    if scanned is None or len(body.input) < len(scanned[0]):
        return
    inputs = body.input[len(body.input) - len(scanned[0]) :]
    for entry, name, axis in zip(inputs, *scanned, strict=True):
        value, known = scope.value(name), inner.values.get(entry.name)
        if value is None or value.dims is None or (known is not None and known.dims is not None):
            continue
        at = axis % len(value.dims) if value.dims else 0
        inner.values[entry.name] = Value(value.elem_type, value.dims[:at] + value.dims[at + 1 :])


def inferred(proto: onnx.ModelProto, sizes: Mapping[str, tuple[int, ...]]) -> tuple[onnx.ModelProto | None, str]:
    """A copy with what onnx's inference finds for inputs of the given sizes; (None, why) where it fails."""
    for entry in proto.graph.input:
        if entry.name in sizes and entry.type.HasField("tensor_type"):
            shape = entry.type.tensor_type.shape
            del shape.dim[:]
            entry.type.tensor_type.shape.SetInParent()
            for size in sizes[entry.name]:
                shape.dim.add(dim_value=size)
    found, problem = inferred_copy(proto)
    return (found, problem) if found is not None else inferred_copy(proto, data_prop=False)
