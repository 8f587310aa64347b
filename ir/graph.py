"""A scope that can be edited: the main graph, a subgraph body or a local function."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelexport.ir.editing import ordering, verbs
from modelexport.ir.editing.view import view_of
from modelexport.ir.node import Node
from modelexport.ir.scope import Scope

if TYPE_CHECKING:
    import networkx as nx


class Graph(Scope):
    """Nodes and values of one scope, with the edits that passes make. See :class:`modelexport.ir.scope.Scope`."""

    def __repr__(self) -> str:
        return f"<Graph {self.scope}: {len(self)} nodes>"

    @property
    def nodes(self) -> Sequence[Node]:
        """Nodes in file order (where edits were made: in the order they will be written)."""
        if self.index.ordered is None:
            self.index.ordered = ordering.file_order(self)
        return self.index.ordered

    @property
    def nx(self) -> nx.DiGraph[int]:
        """The networkx view: integer ids, the Node under ``payload``, an edge per producer and consumer, captures
        included. It is built when first asked for and kept up to date by edits; don't change it directly."""
        return view_of(self)

    # Editing: every method keeps the attribution and the metadata of what survives.

    def insert(
        self,
        op_type: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        *,
        name: str = "",
        domain: str = "",
        attributes: Mapping[str, Any] | None = None,
        inherit: Iterable[Node] = (),
    ) -> Node:
        """Add a node after the producers of its inputs. See :func:`modelexport.ir.editing.verbs.insert`."""
        return verbs.insert(self, op_type, inputs, outputs, name, domain, attributes or {}, tuple(inherit))

    def forget_shapes(self) -> int:
        """Let the value_info of the file go. Returns the number of its entries."""
        return verbs.forget_shapes(self)

    def remove(self, node: Node) -> None:
        """Remove a node none of whose outputs is read any more. Raises GraphError otherwise."""
        verbs.remove(self, node)

    def replace(
        self, nodes: Iterable[Node], by: Node | Iterable[Node], *, inherit: Iterable[Node] | None = None
    ) -> None:
        """Let ``by`` take the place of ``nodes``. See :func:`modelexport.ir.editing.verbs.replace`."""
        by_nodes = (by,) if isinstance(by, Node) else tuple(by)
        verbs.replace(self, tuple(nodes), by_nodes, None if inherit is None else tuple(inherit))

    def rename_value(self, old: str, new: str) -> None:
        """Rename a value of this scope here and in every body that captures it. Raises GraphError."""
        verbs.rename_value(self, old, new)

    def rewire(self, node: Node, slot: int, value: str) -> None:
        """Let input ``slot`` of ``node`` read ``value``. Raises GraphError when the slot or value is unknown."""
        verbs.rewire(self, node, slot, value)
