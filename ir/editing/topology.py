"""The one topological order: of the nodes of a scope, and of whatever else waits for one another.

Linear but for a heap; networkx.find_cycle starts over from every node, which is quadratic on large graphs whose file
order is not topological.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any, TypeVar

from modelexport.ir.node import Node
from modelexport.ir.scope import Scope

Item = TypeVar("Item", bound=Hashable)


def arranged(before: Mapping[Item, Collection[Item]], key: Callable[[Item], Any]) -> list[Item]:
    """Items so that each comes after all in ``before[item]``, of those that could be next the one with the least key.

    Items on a cycle, or behind one, are left out. Everything in ``before[item]`` must be an item, each once.
    """
    waiting = {item: len(makers) for item, makers in before.items()}
    readers: dict[Item, list[Item]] = {}
    for item, makers in before.items():
        for maker in makers:
            readers.setdefault(maker, []).append(item)
    ready = [(key(item), item) for item, count in waiting.items() if not count]
    heapq.heapify(ready)
    found: list[Item] = []
    while ready:
        _, item = heapq.heappop(ready)
        found.append(item)
        for reader in readers.get(item, ()):
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, (key(reader), reader))
    return found


def cycle_of(before: Mapping[Item, Collection[Item]], placed: Collection[Item]) -> list[Item]:
    """Items of one cycle, each followed by one that waits for it; [] where ``placed``, all that is arranged, is all."""
    if len(placed) == len(before):
        return []
    left = before.keys() - set(placed)
    # What is left waits for something among what is left: walking back must come round.
    item = next(item for item in before if item in left)
    walked: dict[Item, None] = {}
    while item not in walked:
        walked[item] = None
        item = next(maker for maker in before[item] if maker in left)
    items = list(walked)
    return items[items.index(item) :][::-1]


def in_order(graph: Scope) -> Sequence[Node]:
    """Nodes so that producers come before consumers: the file order wherever that is one already."""
    return graph.nodes if graph.is_sorted else sorted_anew(graph)


def sorted_anew(graph: Scope) -> tuple[Node, ...]:
    """Nodes so that producers come before consumers, otherwise as near to the file as that allows."""
    nodes, edits = graph.index.by_id, graph.edits
    key: Callable[[int], Any] = edits.key if edits is not None else int
    return tuple([nodes[node_id] for node_id in arranged(_makers(graph), key)])


def find_cycle(graph: Scope) -> list[Node]:
    """Nodes of one cycle in the direction of the data, or [] where there is none."""
    makers = _makers(graph)
    return [graph.node(node_id) for node_id in cycle_of(makers, arranged(makers, int))]


def _makers(graph: Scope) -> dict[int, dict[int, None]]:
    """By node id the ids of the nodes that it reads from, itself or in a body."""
    producers = graph.index.producers
    return {
        node_id: {producers[value].id: None for value in (*node.inputs, *node.captures) if value in producers}
        for node_id, node in graph.index.by_id.items()
    }
