"""Keeping a graph's indexes true while it is edited: readers, captures up the chain of owners, the networkx view."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modelexport.ir.editing.ordering import edits_of
from modelexport.ir.editing.view import relink
from modelexport.ir.node import Node
from modelexport.ir.scope import Scope


def nested(graph: Scope) -> Iterator[Scope]:
    """Every body below ``graph``."""
    stack = [body for bodies in graph.bodies.values() for body in bodies]
    while stack:
        body = stack.pop()
        yield body
        stack.extend(inner for bodies in body.bodies.values() for inner in bodies)


def all_names(graph: Scope) -> set[str]:
    """Every value name that is or was defined in the main graph or the function around ``graph``.

    What is not in it is free everywhere a value of ``graph`` can be seen.
    """
    home = graph.home
    if home.index.names is None:
        home.index.names = {
            name for scope in (home, *nested(home)) for name in (*scope.index.given, *scope.index.producers)
        }
    return home.index.names


def readers_of(graph: Scope, value: str) -> list[Node]:
    """Nodes of ``graph`` that read ``value`` themselves or in a body, in no particular order."""
    readers = graph.index.consumers.get(value, ())
    return list(readers.values() if isinstance(readers, dict) else readers)


def start_reading(graph: Scope, node: Node, values: Iterable[str]) -> None:
    """Index ``node`` as a reader of ``values``, here and, where they come from outside, along the owners."""
    for value in values:
        if value:
            readers = _editable(graph, value)
            if node.id not in readers:
                readers[node.id] = node
                _sync_captures(graph, value)
    relink(graph, node)


def stop_reading(graph: Scope, node: Node, values: Iterable[str]) -> None:
    """Take ``node`` out of the readers of those ``values`` that it does not read any more."""
    for value in values:
        if value and (value not in node.inputs and value not in node.captures):
            _drop(graph, node, value)
            _sync_captures(graph, value)
    relink(graph, node)


def changed(graph: Scope) -> None:
    """Note that the structure of ``graph`` is not what it was."""
    graph.index.reorder()
    graph.model.revision += 1


def _editable(graph: Scope, value: str) -> dict[int, Node]:
    readers = graph.index.consumers.get(value)
    if not isinstance(readers, dict):
        readers = {node.id: node for node in readers or ()}
        graph.index.consumers[value] = readers
    return readers


def _drop(graph: Scope, node: Node, value: str) -> None:
    readers = _editable(graph, value)
    readers.pop(node.id, None)
    if not readers:
        del graph.index.consumers[value]


def reads_free(graph: Scope, value: str) -> bool:
    """Whether ``graph`` or a body in it reads ``value`` from outside of ``graph``."""
    return (bool(graph.index.consumers.get(value)) or value in graph.outputs) and not graph.defines(value)


def _sync_captures(graph: Scope, value: str) -> None:
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
