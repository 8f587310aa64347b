"""The IR verifier: what must hold of every model between two passes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx

from modelexport.ir.graph import Graph
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.text import shown, text


@dataclass(frozen=True, slots=True)
class Violation:
    """One place where a fact or an invariant does not hold."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


def verify(model: Model, *, everything: bool = False) -> Iterator[Violation]:
    """Every place where the IR contradicts itself, or where an edit broke what held in the file.

    A model whose structure was not edited since it was last found right costs nothing; ``everything`` checks it anyway.
    What the file itself broke (a value defined twice, nodes out of order, a name nothing defines) is not a violation.
    """
    if model.verified == model.revision and not everything:
        return
    clean = True
    for graph in model.graphs():
        for violation in _verify_graph(graph):
            clean = False
            yield violation
    if clean:
        model.verified = model.revision


def _verify_graph(graph: Graph) -> Iterator[Violation]:
    yield from _definitions(graph)
    yield from _readers(graph)
    yield from _captures(graph)
    yield from _order(graph)
    for node in graph.nodes:
        if node.graph is not graph or graph.index.by_id.get(node.id) is not node:
            yield Violation(node.described, "is not a node of its graph")
    unknown = graph.bodies.keys() - graph.index.by_id.keys()
    for node_id in sorted(unknown):
        yield Violation(graph.scope, f"has bodies of node {node_id}, which is gone")


def _definitions(graph: Graph) -> Iterator[Violation]:
    defined: dict[str, Node] = {}
    for node in graph.nodes:
        for value in node.outputs:
            if not value:
                continue
            if value in defined or graph.is_given(value):
                if value not in graph.defined_twice:
                    yield Violation(node.described, f"defines {shown(value)!r}, which is defined already")
            else:
                defined[value] = node
    for value, node in graph.index.producers.items():
        if defined.get(value) is not node and value not in graph.defined_twice:
            yield Violation(node.described, f"is indexed as the producer of {shown(value)!r} and is not")
    for value in defined.keys() - graph.index.producers.keys():
        yield Violation(defined[value].described, f"makes {shown(value)!r}, and no index says so")
    for value in graph.outputs if graph.edits is not None else ():
        if value and graph.find(value) is None and value not in _source_outputs(graph):
            yield Violation(graph.scope, f"nothing defines its output {shown(value)!r}")


def _source_outputs(graph: Graph) -> set[str]:
    """Outputs that nothing defined in the file either."""
    names = [value if isinstance(value, (str, bytes)) else value.name for value in graph.proto.output]
    made = {text(name) for node in graph.proto.node for name in node.output}
    return {text(name) for name in names} - made


def _readers(graph: Graph) -> Iterator[Violation]:
    reads: dict[str, set[int]] = {}
    for node in graph.nodes:
        for value in (*node.inputs, *node.captures):
            if value:
                reads.setdefault(value, set()).add(node.id)
    if reads.keys() != graph.index.consumers.keys():
        for value in sorted(reads.keys() ^ graph.index.consumers.keys()):
            yield Violation(graph.scope, f"the index of readers is wrong about {shown(value)!r}")
        return
    for value, readers in graph.index.consumers.items():
        ids = readers.keys() if isinstance(readers, dict) else [node.id for node in readers]
        if reads[value] != set(ids) or len(reads[value]) != len(ids):
            yield Violation(graph.scope, f"the index of readers is wrong about {shown(value)!r}")


def _captures(graph: Graph) -> Iterator[Violation]:
    for node_id, bodies in graph.bodies.items():
        node = graph.index.by_id.get(node_id)
        if node is None:
            continue
        if {value for body in bodies for value in body.free_values()} != set(node.captures):
            yield Violation(node.described, "its captures are not what its bodies read from outside")
    if graph.edits is None:
        return
    for node in graph.nodes:
        if node.id in graph.edits.order or node.id in graph.edits.touched:
            for value in (*node.inputs, *node.captures):
                if value and graph.find(value) is None and not _in_source(node, value):
                    yield Violation(node.described, f"reads {shown(value)!r}, which nothing defines")


def _in_source(node: Node, value: str) -> bool:
    """Whether the file has this node or its bodies read ``value``, so that it was the file that left it undefined."""
    return node.proto is not None and (
        value in [text(name) for name in node.proto.input] or any(value == name for name in _read_in_bodies(node.proto))
    )


def _read_in_bodies(proto: onnx.NodeProto) -> Iterator[str]:
    bodies = [body for attribute in proto.attribute for body in (attribute.g, *attribute.graphs)]
    while bodies:
        body = bodies.pop()
        yield from (text(value.name) for value in body.output)
        for node in body.node:
            yield from map(text, node.input)
            bodies += [inner for attribute in node.attribute for inner in (attribute.g, *attribute.graphs)]


def _order(graph: Graph) -> Iterator[Violation]:
    if not graph.is_sorted or graph.defined_twice:
        return
    done: set[int] = set()
    for node in graph.nodes:
        for value in (*node.inputs, *node.captures):
            producer = graph.index.producers.get(value)
            if producer is not None and producer.id not in done:
                yield Violation(node.described, f"comes before the producer of {shown(value)!r}")
        done.add(node.id)
