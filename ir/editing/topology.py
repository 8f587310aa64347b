"""Whether a graph is cyclic, in linear time and without the networkx view.

networkx.find_cycle starts over from every node, which is quadratic on large graphs whose file order is not topological.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelexport.ir.graph import Graph
    from modelexport.ir.node import Node


def find_cycle(graph: Graph) -> list[Node]:
    """Nodes of one cycle in the direction of the data, or [] where there is none."""
    waiting: dict[int, int] = {}  # by node id: how many of its producers are not placed yet
    ready: list[Node] = []
    for node in graph.nodes:
        count = len({before.id for before in _producers(graph, node)})
        waiting[node.id] = count
        if not count:
            ready.append(node)
    while ready:
        node = ready.pop()
        del waiting[node.id]
        readers = {
            reader.id: reader
            for value in node.outputs
            if graph.producer(value) is node
            for reader in graph.consumers(value)
        }
        for reader in readers.values():
            waiting[reader.id] -= 1
            if not waiting[reader.id]:
                ready.append(reader)
    if not waiting:
        return []
    # What is left has a producer among what is left: walking back must come round.
    node = graph.node(next(iter(waiting)))
    walked: dict[int, Node] = {}
    while node.id not in walked:
        walked[node.id] = node
        node = next(before for before in _producers(graph, node) if before.id in waiting)
    nodes = list(walked.values())
    return nodes[nodes.index(node) :][::-1]


def _producers(graph: Graph, node: Node) -> Iterator[Node]:
    for value in (*node.inputs, *node.captures):
        before = graph.producer(value)
        if before is not None:
            yield before
