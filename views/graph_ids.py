"""What graphs and nodes are called where each graph is a picture of its own, as in Model Explorer."""

from __future__ import annotations

from collections import Counter

from modelexport.ir.scope import Scope
from modelexport.ir.text import readable
from modelexport.views.data import ViewData


def graph_ids(data: ViewData) -> dict[Scope, str]:
    """The main graph, and each body and function that has nodes shown: by its name where no other graph has it."""
    found: dict[Scope, str] = {}
    taken: set[str] = set()
    for graph, count in data.graphs:
        if not count and graph.kind != "main":
            continue
        name = readable(graph.name) or ("main_graph" if graph.kind == "main" else readable(graph.scope))
        if name in taken:
            name = readable(graph.scope)
        while name in taken:
            name += "~"
        taken.add(name)
        found[graph] = name
    return found


def node_ids(data: ViewData) -> list[str]:
    """Of every node its name where no other node of its graph has it, else its key. Unique in a graph only."""
    names = Counter((node.node.graph, node.node.name) for node in data.nodes)
    return [
        readable(node.node.name) if node.node.name and names[node.node.graph, node.node.name] == 1 else node.key
        for node in data.nodes
    ]
