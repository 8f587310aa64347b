"""Putting an Identity on every edge through the editing API, and taking them away again."""

from __future__ import annotations

from modelexport.ir import Graph, Model, Node

Inserted = tuple[Graph, Node, int, str, Node]


def insert_identities(model: Model) -> list[Inserted]:
    """An Identity before every input of every node at every depth."""
    done: list[Inserted] = []
    for graph in list(model.graphs()):
        for node in list(graph.nodes):
            for slot, value in enumerate(node.inputs):
                if value:
                    name = f"identity{len(done)}"
                    identity = graph.insert("Identity", [value], [name])
                    graph.rewire(node, slot, name)
                    done.append((graph, node, slot, value, identity))
    return done


def remove_identities(done: list[Inserted]) -> None:
    for graph, node, slot, value, identity in done:
        graph.rewire(node, slot, value)
        graph.remove(identity)
