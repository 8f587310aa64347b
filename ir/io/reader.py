"""From a file, bytes or a stream to a Model, without reading external data."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import onnx
from google.protobuf.message import DecodeError

from modelexport.ir.errors import InputError
from modelexport.ir.graph import Graph, GraphLike
from modelexport.ir.model import Model
from modelexport.ir.node import Node, shown, text

_GRAPH, _GRAPHS, _UNDEFINED = onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS, onnx.AttributeProto.UNDEFINED


def load_model(source: str | PathLike[str] | bytes | BinaryIO) -> Model:
    """Read a model. External data is never read.

    Args:
        source: a path, the serialized bytes, or an open binary file.

    Raises:
        InputError: the source can't be read, is not an ONNX model, is cyclic, or has recursive functions.
    """
    path: Path | None = None
    if isinstance(source, bytes):
        data, label = source, "<bytes>"
    elif isinstance(source, (str, PathLike)):
        path = Path(source)
        label = str(path)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{label}: {error.strerror or error}") from error
    else:
        data, label = source.read(), getattr(source, "name", "<stream>")
    return from_proto(_parse(data, label), path=path, label=label)


def from_proto(proto: onnx.ModelProto, path: Path | None = None, label: str = "<model>") -> Model:
    """Build the IR over a proto that is already in memory; the proto becomes the model's source.

    Raises:
        InputError: the graph is cyclic or its functions are recursive.
    """
    with _no_gc():
        model = Model(proto, path)
        _fill(model.main)
        for function in proto.functions:
            scope = f"function:{text(function.domain)}:{text(function.name)}:{text(function.overload)}"
            graph = Graph(model, function, scope, "function")
            _fill(graph)
            model.functions.append(graph)
    for graph in model.graphs():
        if not graph.is_sorted:
            _refuse_cycle(graph, label)
    if model.functions:
        _refuse_recursion(model, label)
    return model


def _parse(data: bytes, label: str) -> onnx.ModelProto:
    if not data:
        raise InputError(f"{label}: the file is empty")
    try:
        proto: onnx.ModelProto = onnx.ModelProto.FromString(data)
    except DecodeError as error:
        raise InputError(f"{label}: not an ONNX model, or truncated") from error
    if not proto.HasField("graph"):
        raise InputError(f"{label}: not an ONNX model: it has no graph")
    return proto


def _fill(graph: Graph) -> Graph:
    """Read the nodes of ``graph.proto`` and, recursively, their bodies."""
    producers, consumers, by_id = graph._producers, graph._consumers, graph._by_id
    names: dict[str, str] = {}
    intern = names.setdefault
    seen_late: set[str] = set()
    for node_id, proto in enumerate(graph.proto.node):
        inputs = tuple(intern(name, name) for name in map(text, proto.input))
        outputs = tuple(intern(name, name) for name in map(text, proto.output))
        op_type = text(proto.op_type)
        node = Node(
            graph, node_id, proto, intern(op_type, op_type), text(proto.domain), text(proto.name), inputs, outputs
        )
        by_id[node_id] = node
        if proto.attribute:
            bodies = tuple(_bodies(node, proto))
            if bodies:
                graph.bodies[node_id] = bodies
                node.captures = tuple(dict.fromkeys(value for body in bodies for value in free_values(body)))
                inputs = (*inputs, *node.captures)
        for value in inputs:
            if value:
                if value not in producers:
                    seen_late.add(value)
                readers = consumers.get(value)
                if readers is None:
                    consumers[value] = [node]
                elif readers[-1] is not node:
                    readers.append(node)
        for value in outputs:
            if value:
                if value in producers:
                    graph.model.warnings.append(f"{graph.scope}: value {shown(value)!r} is defined twice")
                elif value in seen_late:
                    graph.is_sorted = False
                producers.setdefault(value, node)
    graph._ordered = tuple(by_id.values())
    return graph


def _bodies(node: Node, proto: onnx.NodeProto) -> Iterator[Graph]:
    for attribute in proto.attribute:
        kind = attribute.type
        if kind == _GRAPH or (kind == _UNDEFINED and attribute.HasField("g")):
            yield _body(node, attribute.g, text(attribute.name))
        elif kind == _GRAPHS or (kind == _UNDEFINED and attribute.graphs):
            for index, body in enumerate(attribute.graphs):
                yield _body(node, body, f"{text(attribute.name)}.{index}")


def _body(node: Node, proto: GraphLike, label: str) -> Graph:
    return _fill(Graph(node.graph.model, proto, f"{node.graph.scope}/{node.id}.{label}", "body", node))


def free_values(graph: Graph) -> Iterator[str]:
    """Values that a body reads, itself or in its own bodies, and does not define."""
    defined = graph.inputs_set | graph.initializers_set | graph._producers.keys()
    for value in (*graph._consumers, *graph.outputs):
        if value and value not in defined:
            yield value


def _refuse_cycle(graph: Graph, label: str) -> None:
    import networkx

    try:
        cycle = networkx.find_cycle(graph.nx)
    except networkx.NetworkXNoCycle:
        return
    nodes = [graph.node(edge[0]) for edge in cycle[:3]]
    through = " -> ".join(shown(node.name or node.first_output) or node.op_type for node in nodes)
    raise InputError(f"{label}: {graph.scope} is cyclic through {through}")


def _refuse_recursion(model: Model, label: str) -> None:
    import networkx

    calls: networkx.DiGraph[str] = networkx.DiGraph()
    for graph in model.graphs():
        home = graph
        while home.parent is not None:
            home = home.parent
        for node in graph.nodes:
            callee = model.function(node.domain, node.op_type, node.overload)
            if callee is not None:
                calls.add_edge(home.scope, callee.scope)
    try:
        cycle = networkx.find_cycle(calls)
    except networkx.NetworkXNoCycle:
        return
    raise InputError(f"{label}: local functions are recursive: {' -> '.join(edge[0] for edge in cycle[:3])}")


@contextmanager
def _no_gc() -> Iterator[None]:
    """Pause the cyclic collector: building many small objects that all live makes it superlinear."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
