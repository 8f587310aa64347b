"""The networkx view of a scope: built when first asked for, then kept up to date by edits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelexport.ir.node import Node
from modelexport.ir.scope import Scope

if TYPE_CHECKING:
    import networkx as nx


def view_of(graph: Scope) -> nx.DiGraph[int]:
    """The view of ``graph``: integer ids, the Node under ``payload``, an edge per producer and consumer."""
    if graph.index.view is None:
        import networkx

        view: nx.DiGraph[int] = networkx.DiGraph()
        nodes = graph.index.by_id
        view.add_nodes_from((node_id, {"payload": node}) for node_id, node in nodes.items())
        producers = graph.index.producers
        view.add_edges_from(
            (producers[value].id, node.id)
            for node in nodes.values()
            for value in (*node.inputs, *node.captures)
            if value in producers
        )
        graph.index.view = view
    return graph.index.view


def relink(graph: Scope, node: Node) -> None:
    """Bring the edges into ``node`` up to date, where there is a view."""
    view = graph.index.view
    if view is None:
        return
    view.remove_edges_from(list(view.in_edges(node.id)))
    producers = graph.index.producers
    view.add_edges_from(
        (producers[value].id, node.id) for value in (*node.inputs, *node.captures) if value in producers
    )
