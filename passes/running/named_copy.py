"""A copy of a model in which every node at every depth has a name of its own, and calls of local functions are inlined.

onnxruntime calls unnamed nodes ``Op_index`` graph by graph, so a body's ``Relu_0`` and the main graph's are one name,
and names what it inlines anew. In the copy a name stands for one node at one place of the call tree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import onnx
from onnx import inliner

from modelexport.ir.attribution import Attribution, Source
from modelexport.ir.errors import InputError
from modelexport.ir.graph import Graph
from modelexport.ir.io.overlay import assemble
from modelexport.ir.io.weights import Weights
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.proto.building import body_protos
from modelexport.ir.scope import Scope
from modelexport.ir.text import readable, text

_MARK = "modelexport.instance"
FRESH = "#"  # stands in every name that is made for a copy
_SMALL = 1024  # elements of a tensor that may be a shape
_FEW = 64  # of one that is not of integers: scales and limits, which sizes may depend on
_INTEGERS = frozenset(getattr(onnx.TensorProto, f"{sign}INT{bits}") for sign in ("", "U") for bits in (8, 16, 32, 64))


class Instance(NamedTuple):
    """A node as it runs: in the main graph, in a body, or in a function as called by ``calls``, outermost first."""

    node: Node
    calls: tuple[Node, ...] = ()

    @property
    def attribution(self) -> Attribution | None:
        """The node's; in a function that of the call, where the node has no module inside the caller's."""
        own = self.node.attribution
        if not self.calls:
            return own
        caller = Instance(self.calls[-1], self.calls[:-1]).attribution
        if own is None or caller is None:
            return own or caller
        around = not own.path or caller.path == own.path or caller.path.startswith(own.path + ".")
        weak = own.source in (Source.INHERITED, Source.FALLBACK)
        return caller if around or weak else own


@dataclass(slots=True)
class NamedCopy:
    """The copy, and what its names stand for.

    Attributes:
        proto: the model; its local functions are inlined.
        instances: by name, in the order of ``Model.nodes`` with called functions after their call.
    """

    proto: onnx.ModelProto
    instances: dict[str, Instance] = field(default_factory=dict)


def named_copy(model: Model, *, metadata: bool = True, weights: bool = True) -> NamedCopy:
    """See the module. Names that are unique in the file stay.

    Args:
        metadata: whether nodes keep their metadata.
        weights: whether all initializers of the main graph are in the copy; else those that shapes can't depend on
            are inputs of their type.
    """
    proto = onnx.ModelProto()
    source = assemble(model)
    small = _SmallTensors(model)
    if weights:
        proto.CopyFrom(source)
        for tensor in proto.graph.initializer:
            small.bring_in(tensor)
    else:
        _copy_without_weights(source, proto, small)
    copy = NamedCopy(proto)
    namer = _Namer(model, copy, metadata)
    namer.graph(model.main, proto.graph, ())
    if namer.functions:
        del proto.functions[:]
        proto.functions.extend(namer.functions)
        domains = {entry.domain for entry in proto.opset_import}
        for function in namer.functions:
            if function.domain not in domains:
                domains.add(function.domain)
                proto.opset_import.add(domain=function.domain, version=1)
        copy.proto = inliner.inline_local_functions(proto)
        _restore_names(copy.proto.graph, list(copy.instances), metadata)
    elif proto.functions:
        del proto.functions[:]
    return copy


class _SmallTensors:
    """Small tensors in files of their own, which shape inference has to read."""

    def __init__(self, model: Model) -> None:
        self._weights = Weights(model)

    def bring_in(self, tensor: onnx.TensorProto) -> bool:
        """Put the data of a small tensor into it; whether it is small and has its data."""
        if not _is_small(tensor, tensor.dims[:]):
            return False
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            return True
        try:
            data = bytes(self._weights.raw(tensor))
        except InputError:
            return False
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
        tensor.raw_data = data
        return True


def _is_small(tensor: onnx.TensorProto, dims: Sequence[int]) -> bool:
    """Whether shapes may be computed from what a tensor holds."""
    size = math.prod(dims)
    return size <= _FEW or (size <= _SMALL and tensor.data_type in _INTEGERS)


def _copy_without_weights(source: onnx.ModelProto, target: onnx.ModelProto, small: _SmallTensors) -> None:
    target.ir_version = source.ir_version
    target.opset_import.extend(source.opset_import)
    target.functions.extend(source.functions)
    graph = source.graph
    target.graph.name = graph.name
    for field_name in ("node", "input", "output", "value_info"):
        getattr(target.graph, field_name).extend(getattr(graph, field_name))
    given = {entry.name for entry in graph.input}
    held: list[onnx.TensorProto] = []
    kinds: dict[tuple[int, ...], onnx.TypeProto] = {}
    for tensor in graph.initializer:
        dims = tensor.dims[:]
        if _is_small(tensor, dims):
            if tensor.data_location != onnx.TensorProto.EXTERNAL:
                held.append(tensor)
                continue
            read = onnx.TensorProto()
            read.CopyFrom(tensor)
            if small.bring_in(read):
                held.append(read)
                continue
        if tensor.name not in given:
            kind = (tensor.data_type, *dims)
            if kind not in kinds:
                kinds[kind] = onnx.helper.make_tensor_type_proto(tensor.data_type, dims)
            target.graph.input.add(name=tensor.name, type=kinds[kind])
    target.graph.initializer.extend(held)
    for sparse in graph.sparse_initializer:
        name, elem_type = sparse.values.name, sparse.values.data_type
        if name not in given:
            target.graph.input.append(onnx.helper.make_tensor_value_info(name, elem_type, sparse.dims))


class _Namer:
    def __init__(self, model: Model, copy: NamedCopy, metadata: bool) -> None:
        self.model, self.copy, self.metadata = model, copy, metadata
        self.functions: list[onnx.FunctionProto] = []
        self.taken: set[str] = set()  # names that fresh ones keep away from; made when one is needed
        self.protos = {
            id(graph): function for graph, function in zip(model.functions, assemble(model).functions, strict=True)
        }
        self.inlines = bool(model.functions) and any(self._callee(node) is not None for node in model.nodes())

    def graph(self, graph: Scope, proto: onnx.GraphProto | onnx.FunctionProto, calls: tuple[Node, ...]) -> None:
        instances = self.copy.instances
        drops, bodies = not self.metadata, graph.bodies
        for node, node_proto in zip(graph.nodes, proto.node, strict=True):
            name = node.name
            if calls or not name or name in instances or not name.isascii():
                name = readable(name)
                if calls or not name or name in instances:
                    name = self._fresh(name or node.op_type, calls)
                node_proto.name = name
            instances[name] = Instance(node, calls)
            if drops:
                node_proto.ClearField("metadata_props")
            if self.inlines:
                node_proto.metadata_props.add(key=_MARK, value=str(len(instances) - 1))
            if node.id in bodies:
                for body, (_, body_proto) in zip(node.bodies, body_protos(node_proto), strict=True):
                    self.graph(body, body_proto, calls)
            callee = self._callee(node) if self.inlines else None
            if callee is not None:
                self._call(node, node_proto, callee, calls)

    def _callee(self, node: Node) -> Graph | None:
        return self.model.function(node.domain, node.op_type, node.overload)

    def _call(self, node: Node, proto: onnx.NodeProto, callee: Graph, calls: tuple[Node, ...]) -> None:
        """Give the call a function of its own, so that what is inlined can be told apart."""
        function = onnx.FunctionProto()
        function.CopyFrom(self.protos[id(callee)])
        function.name = f"{text(function.name)}.{len(self.functions)}.call"
        function.ClearField("overload")
        self.functions.append(function)
        proto.op_type = function.name
        proto.ClearField("overload")
        given = {attribute.name for attribute in proto.attribute}  # onnx's inliner takes no defaults
        proto.attribute.extend(default for default in function.attribute_proto if default.name not in given)
        self.graph(callee, function, (*calls, node))

    def _fresh(self, base: str, calls: tuple[Node, ...]) -> str:
        above = "".join(f"{readable(call.name) or call.op_type}/" for call in calls)
        number = len(self.copy.instances)
        name = f"{above}{base}{FRESH}{number}"
        self.taken = self.taken or {readable(node.name) for node in self.model.nodes() if node.name}
        while name in self.taken:
            name += "~"
        return name


def _restore_names(graph: onnx.GraphProto, names: list[str], metadata: bool) -> None:
    """The inliner appends numbers to names; the mark on each node says what it was called."""
    for node in nodes_of(graph):
        for index, entry in enumerate(node.metadata_props):
            if entry.key == _MARK:
                node.name = names[int(entry.value)]
                del node.metadata_props[index]
                break


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node of a graph and of its bodies, each before those in it."""
    for node in graph.node:
        yield node
        for _, body in body_protos(node):
            yield from nodes_of(body)
