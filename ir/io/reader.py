"""From a file, bytes or a stream to a Model, without reading external data."""

from __future__ import annotations

import gc
import os
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import BinaryIO, cast

import onnx
from google.protobuf.message import DecodeError

from modelexport.ir.editing.topology import find_cycle
from modelexport.ir.errors import InputError
from modelexport.ir.graph import Graph, Readers
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.text import is_utf8, shown, text

_LIMIT = 2**31 - 1  # bytes of one protobuf message
_TOO_LARGE = "larger than 2 GB, the limit of one ONNX file (large weights go to external data)"
_CHUNK = 1 << 20
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
        label = shown(str(path))
        data = _read_file(path, label)
    else:
        label = str(getattr(source, "name", "<stream>"))
        data = _read_stream(source, label)
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
            model.add_function(graph)
    for graph in model.graphs():
        if not graph.is_sorted:
            _refuse_cycle(graph, label)
    if model.functions:
        _refuse_recursion(model, label)
    return model


def _read_file(path: Path, label: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            status = os.fstat(stream.fileno())
            if stat.S_ISFIFO(status.st_mode):
                return _read_stream(stream, label)
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"{label}: not a regular file")
            if status.st_size > _LIMIT:
                raise InputError(f"{label}: {_TOO_LARGE}")
            return stream.read()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"{label}: {getattr(error, 'strerror', None) or error}") from error


def _read_stream(stream: BinaryIO, label: str) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        try:
            chunk = stream.read(_CHUNK)
        except (OSError, ValueError) as error:
            raise InputError(f"{label}: {getattr(error, 'strerror', None) or error}") from error
        if not isinstance(chunk, bytes):
            raise InputError(f"{label}: the stream gives text; open it in binary mode")
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
        size += len(chunk)
        if size > _LIMIT:
            raise InputError(f"{label}: {_TOO_LARGE}")


def _parse(data: bytes, label: str) -> onnx.ModelProto:
    if not data:
        raise InputError(f"{label}: the file is empty")
    try:
        proto: onnx.ModelProto = onnx.ModelProto.FromString(data)
    except DecodeError as error:
        raise InputError(f"{label}: not an ONNX model, or truncated") from error
    if not proto.HasField("graph") or not (proto.ir_version or proto.opset_import or proto.graph.node):
        raise InputError(f"{label}: not an ONNX model: it has no graph")
    return proto


def _fill(graph: Graph) -> Graph:
    """Read the nodes of ``graph.proto`` and, recursively (the proto parser bounds the depth), their bodies."""
    producers, by_id = graph._producers, graph._by_id
    consumers: dict[str, list[Node]] = {}
    graph._consumers = cast("dict[str, Readers]", consumers)
    given = graph._given
    names: dict[str, str] = {}
    intern = names.setdefault
    read_early: set[str] = set()
    odd_names = _check_given(graph)
    for node_id, proto in enumerate(graph.proto.node):
        inputs: tuple[str, ...] = tuple(proto.input[:])  # a slice is faster than an iterator here
        outputs: tuple[str, ...] = tuple(proto.output[:])
        op_type = proto.op_type
        domain = proto.domain
        name = proto.name
        try:
            "".join((op_type, domain, name, *inputs, *outputs))
        except TypeError:  # a name that is not UTF-8 comes as bytes
            op_type, domain, name = text(op_type), text(domain), text(name)
            inputs, outputs = tuple(map(text, inputs)), tuple(map(text, outputs))
            odd_names += [value for value in (op_type, domain, name, *inputs, *outputs) if not is_utf8(value)]
        node = Node(graph, node_id, proto, intern(op_type, op_type), intern(domain, domain), name, inputs, outputs)
        by_id[node_id] = node
        if proto.attribute and read_bodies(node, proto):
            inputs = (*inputs, *node.captures)
        for value in inputs:
            if value:
                readers = consumers.get(value)
                if readers is None:
                    consumers[value] = [node]
                elif readers[-1] is not node:
                    readers.append(node)
                if value not in producers and value not in given:
                    read_early.add(value)
        for value in outputs:
            if value:
                if value in producers or value in given:
                    _defined_twice(graph, value)
                    continue
                if value in read_early:
                    graph.is_sorted = False
                producers[value] = node
    graph._ordered = tuple(by_id.values())
    if odd_names:
        shown_names = ", ".join(dict.fromkeys(map(shown, odd_names[:3])))
        graph.model.warnings.append(f"{graph.scope}: names that are not UTF-8 are carried as they are: {shown_names}")
    return graph


def _check_given(graph: Graph) -> list[str]:
    """Warn of inputs and of initializers that are there twice; names that are not UTF-8 are returned."""
    for names in (graph.inputs, graph.initializers):
        if len(set(names)) < len(names):
            for value in [value for value, count in Counter(names).items() if value and count > 1]:
                graph.model.warnings.append(f"{graph.scope}: value {shown(value)!r} is defined twice")
    return [value for value in (*graph.inputs, *graph.outputs, *graph.initializers) if not is_utf8(value)]


def _defined_twice(graph: Graph, value: str) -> None:
    """The first definition counts; a graph that has a second one is never reordered."""
    if value not in graph.defined_twice:
        graph.defined_twice.add(value)
        graph.model.warnings.append(f"{graph.scope}: value {shown(value)!r} is defined twice")


def read_bodies(node: Node, proto: onnx.NodeProto) -> bool:
    """Read the bodies of a node and what they capture; False where it has none."""
    bodies = tuple(_fill(Graph(node.graph.model, body, "", "body", node, label)) for label, body in body_protos(proto))
    if bodies:
        node.graph.bodies[node.id] = bodies
        node.captures = tuple(dict.fromkeys(value for body in bodies for value in free_values(body)))
    return bool(bodies)


def body_protos(proto: onnx.NodeProto) -> Iterator[tuple[str, onnx.GraphProto]]:
    """The bodies in a node's attributes, each with its label: attribute name and, in a list, index."""
    for attribute in proto.attribute:
        kind = attribute.type
        if kind in (_GRAPH, _UNDEFINED) and attribute.HasField("g"):  # a reference has the kind and no graph
            yield text(attribute.name), attribute.g
        elif kind in (_GRAPHS, _UNDEFINED):
            for index, body in enumerate(attribute.graphs):
                yield f"{text(attribute.name)}.{index}", body


def free_values(graph: Graph) -> Iterator[str]:
    """Values that a body reads, itself or in its own bodies, and does not define."""
    for value in (*graph._consumers, *graph.outputs):
        if value and not graph.defines(value):
            yield value


def _refuse_cycle(graph: Graph, label: str) -> None:
    cycle = find_cycle(graph)
    if cycle:
        through = " -> ".join(shown(node.name or node.first_output) or node.op_type for node in cycle[:3])
        raise InputError(f"{label}: {graph.scope} is cyclic through {through}")


def _refuse_recursion(model: Model, label: str) -> None:
    import networkx

    calls: networkx.DiGraph[str] = networkx.DiGraph()
    for graph in model.graphs():
        home = graph
        while home.parent is not None:
            home = home.parent
        if home is model.main:
            continue
        for node in graph.nodes:
            callee = model.function(node.domain, node.op_type, node.overload)
            if callee is not None:
                calls.add_edge(home.scope, callee.scope)
    if networkx.is_directed_acyclic_graph(calls):
        return
    cycle = networkx.find_cycle(calls)
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
