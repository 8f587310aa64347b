"""onnx's shape inference, and all the ways in which it may refuse a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
import onnx.checker
import onnx.shape_inference

from modelexport.ir.proto.building import body_protos

_REFUSALS = (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError, ValueError, TypeError)
# Operators whose inference takes it for granted that the type of what they read is known. Behind an operator of a
# foreign domain it is not, and the process ends (onnx 1.23).
_NEED_TYPES = frozenset({"DictVectorizer", "LabelEncoder", "RegexFullMatch"})
_HIDDEN = "modelexport.hidden"


def inferred_copy(proto: onnx.ModelProto, *, data_prop: bool = True) -> tuple[onnx.ModelProto | None, str]:
    """A copy with the shapes that onnx finds; (None, why in one line) where it can't read the model.

    Args:
        proto: the model; large weights are best left out.
        data_prop: follow the values of shapes as well.
    """
    if not _may_have(proto) or _NEED_TYPES.isdisjoint(node.op_type for node in _all_nodes(proto)):
        return _inferred(proto, data_prop)
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    copy.opset_import.add(domain=_HIDDEN, version=1)
    domains: dict[int, str] = {}  # by place
    for place, node in enumerate(_all_nodes(copy)):
        if node.op_type in _NEED_TYPES:
            domains[place], node.domain = node.domain, _HIDDEN
    while True:
        found, problem = _inferred(copy, data_prop)
        known = _of_known_type((found or copy).graph)
        shown = [
            (node, domains.pop(place))
            for place, node in enumerate(copy.graph.node)
            if place in domains and known.issuperset(node.input)  # a missing input has no type either
        ]
        if not shown:
            break
        for node, domain in shown:
            node.domain = domain
    if found is not None:
        for place, node in enumerate(_all_nodes(found)):
            if place in domains:
                node.domain = domains[place]
        del found.opset_import[-1]
    return found, problem


def _inferred(proto: onnx.ModelProto, data_prop: bool) -> tuple[onnx.ModelProto | None, str]:
    try:
        return onnx.shape_inference.infer_shapes(proto, data_prop=data_prop), ""
    except _REFUSALS as error:
        return None, f"onnx's shape inference failed: {' '.join(str(error).split())[:200]}"


def _may_have(proto: onnx.ModelProto) -> bool:
    """Whether the versions of operators that a model imports have those that need types."""
    imports = [*proto.opset_import, *(entry for function in proto.functions for entry in function.opset_import)]
    return any(entry.domain == "ai.onnx.ml" or entry.version >= 20 for entry in imports)


def _all_nodes(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """The nodes of the main graph, then all others."""
    yield from proto.graph.node
    for function in proto.functions:
        yield from function.node
    for nodes in (proto.graph.node, *(function.node for function in proto.functions)):
        yield from _inner_nodes(nodes)


def _inner_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        for _, body in body_protos(node) if node.attribute else ():
            yield from body.node
            yield from _inner_nodes(body.node)


def _of_known_type(graph: onnx.GraphProto) -> set[str]:
    """Values whose element type a graph states, and those of other kinds."""
    found = {tensor.name for tensor in graph.initializer}
    for entry in (*graph.input, *graph.output, *graph.value_info):
        kind = entry.type
        if kind.HasField("tensor_type"):
            if kind.tensor_type.elem_type:
                found.add(entry.name)
        elif kind.WhichOneof("value") is not None:
            found.add(entry.name)
    return found
