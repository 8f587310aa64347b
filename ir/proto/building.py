"""From protos in memory to the scopes of the IR: nodes, who makes and who reads each value, and bodies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TypeVar, cast

import onnx

from modelexport.ir.node import Node
from modelexport.ir.scope import Scope
from modelexport.ir.text import is_utf8, shown, text

_GRAPH, _GRAPHS, _UNDEFINED = onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS, onnx.AttributeProto.UNDEFINED
_HOLDERS = frozenset((_GRAPH, _GRAPHS, _UNDEFINED))
AnyScope = TypeVar("AnyScope", bound=Scope)


def fill(graph: AnyScope) -> AnyScope:
    """Read the nodes of ``graph.proto`` and, recursively (the proto parser bounds the depth), their bodies."""
    producers, by_id = graph.index.producers, graph.index.by_id
    consumers: dict[str, list[Node]] = {}
    graph.index.consumers = cast("dict[str, list[Node] | dict[int, Node]]", consumers)
    given = graph.index.given
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
        if proto.attribute and read_bodies(graph, node, proto):
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
    graph.index.ordered = tuple(by_id.values())
    if odd_names:
        shown_names = ", ".join(dict.fromkeys(map(shown, odd_names[:3])))
        graph.model.warnings.append(f"{graph.scope}: names that are not UTF-8 are carried as they are: {shown_names}")
    return graph


def _check_given(graph: Scope) -> list[str]:
    """Warn of inputs and of initializers that are there twice; names that are not UTF-8 are returned."""
    for names in (graph.inputs, graph.initializers):
        if len(set(names)) < len(names):
            for value in [value for value, count in Counter(names).items() if value and count > 1]:
                graph.model.warnings.append(f"{graph.scope}: value {shown(value)!r} is defined twice")
    return [value for value in (*graph.inputs, *graph.outputs, *graph.initializers) if not is_utf8(value)]


def _defined_twice(graph: Scope, value: str) -> None:
    """The first definition counts; a graph that has a second one is never reordered."""
    if value not in graph.defined_twice:
        graph.defined_twice.add(value)
        graph.model.warnings.append(f"{graph.scope}: value {shown(value)!r} is defined twice")


def read_bodies(graph: Scope, node: Node, proto: onnx.NodeProto) -> bool:
    """Read the bodies of a node of ``graph`` and what they capture; False where it has none."""
    kind = type(graph)
    for attribute in proto.attribute:  # far quicker than asking for bodies, which nearly no node has
        if attribute.type in _HOLDERS:
            break
    else:
        return False
    bodies = tuple(fill(kind(graph.model, body, "", "body", node, label)) for label, body in body_protos(proto))
    if bodies:
        graph.bodies[node.id] = bodies
        node.captures = tuple(dict.fromkeys(value for body in bodies for value in body.free_values()))
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
