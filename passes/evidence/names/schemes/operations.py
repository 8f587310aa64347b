"""Nodes that a converter made of one operation of the framework: values between them bear names of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from modelexport.ir.node import Node
from modelexport.passes.evidence.names.schemes.interface import Scheme


def operations(scheme: Scheme, nodes: Sequence[Node]) -> list[list[Node]]:
    """Groups of at least two nodes, each in the order of ``nodes``.

    A value that the converter named for itself joins the node that makes it with its readers, and with what makes the
    inputs, unless the framework has a name for those.
    """
    first = {node: node for node in nodes}

    def root(node: Node) -> Node:
        while first[node] is not node:
            first[node] = first[first[node]]
            node = first[node]
        return node

    for node in nodes:
        made = any(map(scheme.is_inside, node.outputs))
        for value in node.inputs:
            maker = node.graph.producer(value) if value else None
            if (
                maker is not None
                and maker in first
                and (scheme.is_inside(value) or (made and not _is_named(scheme, value)))
            ):
                first[root(node)] = root(maker)
    groups: dict[Node, list[Node]] = defaultdict(list)
    for node in nodes:
        groups[root(node)].append(node)
    return [group for group in groups.values() if len(group) > 1]


def _is_named(scheme: Scheme, value: str) -> bool:
    return scheme.scope(value, "") is not None or scheme.is_made(value)
