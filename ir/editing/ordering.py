"""The order of an edited graph's nodes: where new nodes go, what would be a cycle, when to sort anew.

Every node has an order key: a node of the file its position, a new one the key of its last producer with the next
number of a sequence. Keys of a sorted graph are a topological order until an edit lets a node read a later one's value;
from then on, and for a graph whose file is not sorted, ranks from a topological sort stand in for the keys when a new
edge is checked, and the file order is sorted anew only if an edit brought a violation that the file did not have.
"""

from __future__ import annotations

import onnx

from modelexport.ir.editing.edits import Edits, Key
from modelexport.ir.editing.topology import sorted_anew
from modelexport.ir.errors import GraphError
from modelexport.ir.node import Node
from modelexport.ir.scope import Scope
from modelexport.ir.text import shown, text


def edits_of(graph: Scope) -> Edits:
    """The record of edits of ``graph``, begun now if there is none."""
    if graph.edits is None:
        graph.edits = Edits(len(graph.index.by_id))
    return graph.edits


def annotated(graph: Scope) -> frozenset[str]:
    """Names in the file that quantization annotations of ``graph`` mention."""
    edits = edits_of(graph)
    if edits.annotated is None:
        annotations = graph.proto.quantization_annotation if isinstance(graph.proto, onnx.GraphProto) else ()
        edits.annotated = frozenset(
            text(name)
            for annotation in annotations
            for name in (annotation.tensor_name, *(e.value for e in annotation.quant_parameter_tensor_names))
        )
    return edits.annotated


def rank(graph: Scope, node: Node) -> Key:
    """Place of a node in a topological order."""
    edits = edits_of(graph)
    if graph.is_sorted and not edits.backward:
        return edits.key(node.id)
    if edits.ranks is None:
        edits.ranks = {other.id: (place, 0) for place, other in enumerate(sorted_anew(graph))}
    return edits.ranks[node.id]


def place(graph: Scope, node: Node) -> None:
    """Give a new node its key and its rank, behind the producers of what it reads."""
    edits, made = edits_of(graph), graph.index.producers
    edits.sequence += 1
    producers = [made[value] for value in (*node.inputs, *node.captures) if value in made]
    edits.order[node.id] = (max([edits.key(p.id)[0] for p in producers], default=-1), edits.sequence)
    if edits.ranks is not None:
        edits.ranks[node.id] = (max([edits.ranks[p.id][0] for p in producers], default=-1), edits.sequence)


def check_edge(graph: Scope, value: str, node: Node) -> bool:
    """Refuse that ``node`` reads ``value`` when ``value`` depends on ``node``, in this scope or, captured, outside.

    Returns whether the edge goes backward, so that ranks become stale once it is there. Raises GraphError.
    """
    scope = graph
    while True:
        producer = scope.index.producers.get(value)
        if producer is not None:
            return _goes_backward(scope, producer, node, value)
        if scope.owner is None or scope.defines(value):
            return False
        node = scope.owner
        scope = node.graph


def mark_backward(graph: Scope, value: str) -> None:
    """Note a backward edge where ``value`` is defined."""
    scope: Scope | None = graph
    while scope is not None and value not in scope.index.producers:
        scope = scope.parent
    if scope is not None:
        edits_of(scope).stale()
        scope.index.reorder()


def _goes_backward(graph: Scope, producer: Node, node: Node, value: str) -> bool:
    if producer is not node and rank(graph, producer) < rank(graph, node):
        return False
    bound = rank(graph, producer)
    seen = {node.id}
    stack = [node]
    while stack:
        current = stack.pop()
        if current is producer:
            raise GraphError(f"{graph.scope}: reading {shown(value)!r} there would make the graph cyclic")
        for output in current.outputs:
            readers = graph.index.consumers.get(output, ()) if graph.index.producers.get(output) is current else ()
            for reader in readers.values() if isinstance(readers, dict) else readers:
                if reader.id not in seen and rank(graph, reader) <= bound:
                    seen.add(reader.id)
                    stack.append(reader)
    if graph.defined_twice:
        raise GraphError(f"{graph.scope}: values are defined twice, so its nodes can't be put in another order")
    return True


def file_order(graph: Scope) -> tuple[Node, ...]:
    """Nodes in the order they are, or will be, in the file."""
    edits = graph.edits
    if edits is None:
        return tuple(graph.index.by_id.values())
    nodes = sorted(graph.index.by_id.values(), key=lambda node: edits.key(node.id))
    if (edits.backward or not graph.is_sorted) and not graph.defined_twice and _has_new_violation(graph, edits, nodes):
        return sorted_anew(graph)
    return tuple(nodes)


def _has_new_violation(graph: Scope, edits: Edits, nodes: list[Node]) -> bool:
    done: set[int] = set()
    for node in nodes:
        for value in (*node.inputs, *node.captures):
            producer = graph.index.producers.get(value)
            if producer is not None and producer.id not in done and not _in_source(edits, producer, node):
                return True
        done.add(node.id)
    return False


def _in_source(edits: Edits, producer: Node, node: Node) -> bool:
    """Whether the file already lets ``node`` read something of ``producer``."""
    if producer.id in edits.order or node.id in edits.order or producer.proto is None or node.proto is None:
        return False
    if node.id not in edits.touched and node.id not in edits.captured and producer.id not in edits.touched:
        return True
    reads = [*map(text, node.proto.input), *edits.captured.get(node.id, node.captures)]
    return not {*map(text, producer.proto.output)}.isdisjoint(reads)
