"""Keeping a graph's indexes true while it is edited: readers, captures up the chain of owners, the networkx view."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from modelexport.ir.editing.ordering import edits_of

if TYPE_CHECKING:
    from modelexport.ir.graph import Graph
    from modelexport.ir.model import Model
    from modelexport.ir.node import Node


def visible_in(graph: Graph, value: str) -> Graph | None:
    """The innermost scope from ``graph`` outwards that defines ``value``."""
    scope: Graph | None = graph
    while scope is not None and not scope.defines(value):
        scope = scope.parent
    return scope


def nested(graph: Graph) -> Iterator[Graph]:
    """Every body below ``graph``."""
    stack = [body for bodies in graph.bodies.values() for body in bodies]
    while stack:
        body = stack.pop()
        yield body
        stack.extend(inner for bodies in body.bodies.values() for inner in bodies)


def all_names(model: Model) -> set[str]:
    """Every value name that is or was defined in some scope: what is not in it is free everywhere."""
    if model._names is None:
        model._names = {name for graph in model.graphs() for name in (*graph._given, *graph._producers)}
    return model._names


def readers_of(graph: Graph, value: str) -> list[Node]:
    """Nodes of ``graph`` that read ``value`` themselves or in a body, in no particular order."""
    readers = graph._consumers.get(value, ())
    return list(readers.values() if isinstance(readers, dict) else readers)


def start_reading(graph: Graph, node: Node, values: Iterable[str]) -> None:
    """Index ``node`` as a reader of ``values``, here and, where they come from outside, along the owners."""
    for value in values:
        if value:
            readers = _editable(graph, value)
            if node.id not in readers:
                readers[node.id] = node
                _sync_captures(graph, value)
    relink(graph, node)


def stop_reading(graph: Graph, node: Node, values: Iterable[str]) -> None:
    """Take ``node`` out of the readers of those ``values`` that it does not read any more."""
    for value in values:
        if value and (value not in node.inputs and value not in node.captures):
            _drop(graph, node, value)
            _sync_captures(graph, value)
    relink(graph, node)


def relink(graph: Graph, node: Node) -> None:
    """Bring the edges into ``node`` in the networkx view up to date, where there is a view."""
    view = graph._nx
    if view is None:
        return
    view.remove_edges_from(list(view.in_edges(node.id)))
    producers = graph._producers
    view.add_edges_from(
        (producers[value].id, node.id) for value in (*node.inputs, *node.captures) if value in producers
    )


def changed(graph: Graph) -> None:
    """Note that the structure of ``graph`` is not what it was."""
    graph._ordered = graph._positions = None
    graph.model.revision += 1


def _editable(graph: Graph, value: str) -> dict[int, Node]:
    readers = graph._consumers.get(value)
    if not isinstance(readers, dict):
        readers = {node.id: node for node in readers or ()}
        graph._consumers[value] = readers
    return readers


def _drop(graph: Graph, node: Node, value: str) -> None:
    readers = _editable(graph, value)
    readers.pop(node.id, None)
    if not readers:
        del graph._consumers[value]


def reads_free(graph: Graph, value: str) -> bool:
    """Whether ``graph`` or a body in it reads ``value`` from outside of ``graph``."""
    return (bool(graph._consumers.get(value)) or value in graph.outputs) and not graph.defines(value)


def _sync_captures(graph: Graph, value: str) -> None:
    while (owner := graph.owner) is not None and not graph.defines(value):
        outer = owner.graph
        reads = any(reads_free(body, value) for body in owner.bodies)
        if reads == (value in owner.captures):
            return
        edits_of(outer).captured.setdefault(owner.id, owner.captures)
        if reads:
            owner.captures = (*owner.captures, value)
            _editable(outer, value)[owner.id] = owner
        else:
            owner.captures = tuple(name for name in owner.captures if name != value)
            if value not in owner.inputs:
                _drop(outer, owner, value)
        relink(outer, owner)
        changed(outer)
        graph = outer
