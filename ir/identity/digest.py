"""The hash of a model's structure."""

from __future__ import annotations

import hashlib

import onnx

from modelexport.ir.graph import Graph
from modelexport.ir.model import Model
from modelexport.ir.text import text

_KINDS = onnx.AttributeProto
_TENSOR_KINDS = (_KINDS.TENSOR, _KINDS.TENSORS, _KINDS.SPARSE_TENSOR, _KINDS.SPARSE_TENSORS)
_GRAPH_KINDS = (_KINDS.GRAPH, _KINDS.GRAPHS)


def graph_digest(model: Model) -> str:
    """SHA-256 of the structure, as ``sha256:<hex>``.

    It covers, scope by scope in the order of ``Model.graphs``: scope, inputs, outputs, initializer names; of every node
    in file order operator, domain, overload, inputs, outputs and attributes (of tensors only type and shape, graphs as
    scopes of their own). Node names, metadata, doc strings, value_info and the values of weights do not count.
    """
    digest = hashlib.sha256()
    for graph in model.graphs():
        digest.update(_packed(["graph", graph.scope, *graph.inputs, "", *graph.outputs, "", *graph.initializers]))
        _update_nodes(digest, graph)
    return f"sha256:{digest.hexdigest()}"


def _update_nodes(digest: hashlib._Hash, graph: Graph) -> None:
    for node in graph.nodes:
        parts = [node.op_type, node.domain, node.overload, "(", *node.inputs, ")", *node.outputs]
        digest.update(_packed(parts))
        if node.proto is not None:
            for attribute in node.proto.attribute:
                digest.update(_attribute(attribute))


def _packed(parts: list[str]) -> bytes:
    """Strings such that no two lists give the same bytes."""
    return "\0".join([str(len(parts)), *(part.replace("\0", "\0\0") for part in parts), "\n"]).encode(
        "utf-8", "surrogateescape"
    )


def _kind_by_content(attribute: onnx.AttributeProto) -> int:
    if attribute.HasField("g") or attribute.graphs:
        return _KINDS.GRAPH
    if attribute.HasField("t") or attribute.tensors or attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
        return _KINDS.TENSOR
    return _KINDS.UNDEFINED


def _attribute(attribute: onnx.AttributeProto) -> bytes:
    name = text(attribute.name)
    kind: int = attribute.type
    if kind == _KINDS.UNDEFINED:  # files from before attributes had a kind
        kind = _kind_by_content(attribute)
    if kind in _GRAPH_KINDS:
        return _packed([name, "graph", str(len(attribute.graphs))])
    if kind in _TENSOR_KINDS:
        tensors = [attribute.t, *attribute.tensors]
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            tensors += [sparse.values, sparse.indices]
        return _packed([name, "tensor", *(f"{tensor.data_type}{list(tensor.dims)}" for tensor in tensors)])
    if not attribute.HasField("doc_string"):
        data: bytes = attribute.SerializeToString(deterministic=True)
        return data
    plain = onnx.AttributeProto()
    plain.CopyFrom(attribute)
    plain.ClearField("doc_string")
    data = plain.SerializeToString(deterministic=True)
    return data
