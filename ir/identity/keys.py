"""How nodes are named across files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.text import readable


def node_keys(model: Model) -> Iterator[tuple[str, Node]]:
    """Every node of every scope with its key, in the order of ``Model.nodes``.

    A key is the node's name where that is not empty and unique in the file, else ``graph#position:op_type``. Where that
    is a key already ``~2``, ``~3``, ... is appended. Bytes that are not UTF-8 are backslash-escaped.
    """
    nodes = list(model.nodes())
    names = {node.name for node in nodes}
    plain = all(map(str.isascii, names))
    if plain and len(names) == len(nodes) and "" not in names:
        for node in nodes:  # nearly every file
            yield node.name, node
        return
    count = Counter([node.name for node in nodes])
    count.pop("", None)
    unique = {name for name, number in count.items() if number == 1}
    taken = unique if plain else set(map(readable, unique))
    used: set[str] = set()
    for graph in model.graphs():
        scope = graph.scope
        for position, node in enumerate(graph.nodes):
            name = node.name
            if name in unique:
                if plain:
                    yield name, node  # nothing else gets this key
                    continue
                key = base = readable(name)
                clash = key in used
            else:
                key = base = readable(f"{scope}#{position}:{node.op_type}")
                clash = key in taken or key in used
            number = 1
            while clash:
                number += 1
                key = f"{base}~{number}"
                clash = key in taken or key in used
            used.add(key)
            yield key, node
