"""Values of a model as pictures name them: who makes them, their types, and which come from constants only."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import onnx

from modelexport.ir.io.overlay import assemble
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.proto.inference import inferred_copy
from modelexport.ir.scope import Scope
from modelexport.ir.text import text
from modelexport.passes.partition.value_types import without_weights

INFERRED = 20_000  # nodes of the largest graph whose unknown shapes are inferred
RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)
_NAMES = {"float": "float32", "double": "float64"}
_DTYPES = {
    number: _NAMES.get(name.lower(), name.lower()) for name, number in onnx.TensorProto.DataType.items() if number
}


def home_of(graph: Scope, value: str) -> Scope | None:
    """The innermost scope from ``graph`` outwards that defines ``value``; None where none does."""
    scope: Scope | None = graph
    while scope is not None and not scope.defines(value):
        scope = scope.parent
    return scope


def constant_nodes(model: Model) -> set[Node]:
    """Nodes whose results are the same in every run: constants, and what is computed from constants and initializers
    only. Nodes that draw random numbers are none of them."""
    found: set[Node] = set()
    for graph in model.graphs():
        waiting = deque(graph.nodes)
        while waiting:  # in file order once; where that is no topological order, readers again
            node = waiting.popleft()
            if node in found or not _is_constant(node, found):
                continue
            found.add(node)
            if not graph.is_sorted:
                waiting.extend(reader for value in node.outputs if value for reader in graph.consumers(value))
    return found


def _is_constant(node: Node, found: set[Node]) -> bool:
    if node.op_type == "Constant":
        return True
    read = [value for value in (*node.inputs, *node.captures) if value]
    return (
        bool(read) and node.op_type not in RANDOM and all(_given_or_found(node.graph, value, found) for value in read)
    )


def _given_or_found(graph: Scope, value: str, found: set[Node]) -> bool:
    home = graph if graph.defines(value) else home_of(graph, value)
    if home is None:
        return False
    maker = home.producer(value)
    return maker in found if maker is not None else value in home.initializers_set


def value_types(graph: Scope) -> dict[str, str]:
    """What the file says about values of one scope: ``float32[batch,128]`` by name."""
    proto = graph.proto
    types: dict[str, str] = {}
    infos: list[Iterable[onnx.ValueInfoProto]] = [proto.value_info]
    if isinstance(proto, onnx.GraphProto):
        infos += [proto.input, proto.output]
        for name, tensor in zip(graph.initializers, _tensors(proto), strict=True):
            types[name] = tensor_type(tensor)
    for info in infos:
        for value in info:
            if described := type_text(value.type):
                types[text(value.name)] = described
    return types


def inferred_types(model: Model) -> dict[str, str]:
    """What onnx's inference finds for values of the main graph that the file says nothing about; nothing for a model of
    more than 20,000 nodes, which would wait for it, and for one that onnx can't infer."""
    graph = model.main
    told = {text(value.name) for value in graph.proto.value_info} | set(graph.outputs)
    silent = any(value and value not in told for node in graph.nodes for value in node.outputs)
    if not silent or len(graph) > INFERRED:
        return {}
    found, _ = inferred_copy(without_weights(assemble(model)))
    if found is None:
        return {}
    return {text(value.name): described for value in found.graph.value_info if (described := type_text(value.type))}


def _tensors(proto: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from proto.initializer
    for sparse in proto.sparse_initializer:
        yield onnx.TensorProto(dims=sparse.dims, data_type=sparse.values.data_type)


def tensor_type(tensor: onnx.TensorProto) -> str:
    """Element type and shape of a tensor: ``int64[3]``."""
    return f"{dtype_name(tensor.data_type)}[{','.join(map(str, tensor.dims))}]"


def dtype_name(data_type: int) -> str:
    """Name of an element type as numpy has it."""
    return _DTYPES.get(data_type, f"type{data_type}")


def type_text(kind: onnx.TypeProto) -> str:
    """A type in short: ``float32[batch,128]``, ``float32`` without a shape, ``sequence(...)``; "" where unknown."""
    which = kind.WhichOneof("value")
    if which == "tensor_type" or which == "sparse_tensor_type":
        tensor = kind.tensor_type if which == "tensor_type" else kind.sparse_tensor_type
        if not tensor.elem_type:
            return ""
        name = _DTYPES.get(tensor.elem_type) or dtype_name(tensor.elem_type)
        if not tensor.HasField("shape"):
            return name
        sizes = [
            str(dim.dim_value) if dim.HasField("dim_value") else text(dim.dim_param) or "?" for dim in tensor.shape.dim
        ]
        return f"{name}[{','.join(sizes)}]"
    if which == "sequence_type":
        return f"sequence({type_text(kind.sequence_type.elem_type)})"
    if which == "optional_type":
        return f"optional({type_text(kind.optional_type.elem_type)})"
    if which == "map_type":
        return f"map({dtype_name(kind.map_type.key_type)},{type_text(kind.map_type.value_type)})"
    return ""
