"""How nodes are named across files, and the hash of a model's structure."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator

import onnx

from modelexport.ir.graph import Graph
from modelexport.ir.model import Model
from modelexport.ir.node import Node, text

_KINDS = onnx.AttributeProto
_TENSOR_KINDS = (_KINDS.TENSOR, _KINDS.TENSORS, _KINDS.SPARSE_TENSOR, _KINDS.SPARSE_TENSORS)
_GRAPH_KINDS = (_KINDS.GRAPH, _KINDS.GRAPHS)


def node_keys(model: Model) -> Iterator[tuple[str, Node]]:
    """Every node of every scope with its key, in the order of ``Model.nodes``.

    A key is the node's name where that is not empty and unique in the file, else ``graph#position:op_type``. Where that
    is a key already ``~2``, ``~3``, ... is appended. Bytes that are not UTF-8 are backslash-escaped.
    """
    count = Counter(node.name for node in model.nodes())
    taken = {readable(name) for name, number in count.items() if name and number == 1}
    used: set[str] = set()
    for graph in model.graphs():
        scope = graph.scope
        for position, node in enumerate(graph.nodes):
            if node.name and count[node.name] == 1:
                key = base = readable(node.name)
                clash = key in used
            else:
                key = base = readable(f"{scope}#{position}:{node.op_type}")
                clash = key in taken or key in used
            number = 1
            while clash:
                number += 1
                key = f"{base}~{number}"
                clash = key in taken or key in used
            used.add(key)
            yield key, node


def readable(name: str) -> str:
    """A name as JSON can hold it: bytes that are not UTF-8 are backslash-escaped, everything else stays."""
    if name.isascii():
        return name
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


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
