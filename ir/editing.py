"""Edits of a graph's structure, behind the methods of Graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelexport.ir.graph import Graph
    from modelexport.ir.node import Node


class Edits:
    """What was edited in one graph (filled by the functions below, read by the writer)."""


def file_order(graph: Graph) -> tuple[Node, ...]:
    """Nodes in the order they are, or will be, in the file."""
    return tuple(graph._by_id.values())


def insert(
    graph: Graph,
    op_type: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    name: str,
    domain: str,
    attributes: Mapping[str, Any],
    inherit: tuple[Node, ...],
) -> Node:
    """Add a node."""
    raise NotImplementedError


def remove(graph: Graph, node: Node) -> None:
    """Remove a node."""
    raise NotImplementedError


def replace(graph: Graph, nodes: tuple[Node, ...], by: tuple[Node, ...], inherit: tuple[Node, ...] | None) -> None:
    """Replace nodes."""
    raise NotImplementedError


def rename_value(graph: Graph, old: str, new: str) -> None:
    """Rename a value."""
    raise NotImplementedError


def rewire(graph: Graph, node: Node, slot: int, value: str) -> None:
    """Rewire an input."""
    raise NotImplementedError
