"""One scope of a model: the main graph, a subgraph body or a local function."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import onnx

from modelexport.ir.editing import ordering, verbs
from modelexport.ir.node import Node
from modelexport.ir.text import text

if TYPE_CHECKING:
    import networkx as nx

    from modelexport.ir.model import Model

Kind = Literal["main", "body", "function"]
GraphLike = onnx.GraphProto | onnx.FunctionProto
Readers = list[Node] | dict[int, Node]  # by id once edited, so that taking one away is cheap


class Graph:
    """Nodes and values of one scope.

    Node ids are integers: a node that was read has its position in the file, a new one the next free number. Values are
    names; a value that is read here but made in an outer scope is a capture, and counts as an input of the node whose
    body reads it.

    Attributes:
        owner: the node whose body this is, else None.
        label: ``<attribute>[.<i>]`` of a body.
        inputs, outputs, initializers: value names in file order.
        bodies: bodies by the id of the node that owns them.
    """

    def __init__(
        self, model: Model, proto: GraphLike, scope: str, kind: Kind, owner: Node | None = None, label: str = ""
    ) -> None:
        self.model = model
        self.proto = proto
        self._scope = scope
        self.kind: Kind = kind
        self.owner = owner
        self.label = label
        self.bodies: dict[int, tuple[Graph, ...]] = {}
        if isinstance(proto, onnx.GraphProto):
            self.inputs = [text(value.name) for value in proto.input]
            self.outputs = [text(value.name) for value in proto.output]
            self.initializers = [text(tensor.name) for tensor in proto.initializer]
            self.initializers += [text(tensor.values.name) for tensor in proto.sparse_initializer]
        else:
            self.inputs = [text(name) for name in proto.input]
            self.outputs = [text(name) for name in proto.output]
            self.initializers = []
        self._given = {*self.inputs, *self.initializers}
        self._inputs_set: frozenset[str] | None = None
        self._initializers_set: frozenset[str] | None = None
        self._by_id: dict[int, Node] = {}
        self._ordered: tuple[Node, ...] | None = None
        self._positions: dict[int, int] | None = None
        self._producers: dict[str, Node] = {}
        self._consumers: dict[str, Readers] = {}
        self._nx: nx.DiGraph[int] | None = None
        self.edits: ordering.Edits | None = None
        self.is_sorted = True
        self.defined_twice: set[str] = set()

    def __repr__(self) -> str:
        return f"<Graph {self.scope}: {len(self._by_id)} nodes>"

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def scope(self) -> str:
        """``main``, ``main/<position>.<attribute>[.<i>]`` for a body, ``function:<domain>:<name>:<overload>``.

        Positions are those in the file that will be written.
        """
        if self.owner is None:
            return self._scope
        home = self.owner.graph
        return f"{home.scope}/{home.position(self.owner)}.{self.label}"

    def position(self, node: Node) -> int:
        """Position of a node of this graph in the file (where edits were made: that will be written)."""
        if self.edits is None:
            return node.id
        if self._positions is None:
            self._positions = {other.id: index for index, other in enumerate(self.nodes)}
        return self._positions.get(node.id, node.id)

    @property
    def name(self) -> str:
        """Name of the graph or function in the file."""
        return text(self.proto.name)

    @property
    def parent(self) -> Graph | None:
        """The scope around a body; None for the main graph and for functions."""
        return self.owner.graph if self.owner is not None else None

    @property
    def nodes(self) -> Sequence[Node]:
        """Nodes in file order (where edits were made: in the order they will be written)."""
        if self._ordered is None:
            self._ordered = ordering.file_order(self)
        return self._ordered

    def node(self, node_id: int) -> Node:
        """The node with this id. Raises KeyError."""
        return self._by_id[node_id]

    def producer(self, value: str) -> Node | None:
        """The node of this scope that makes ``value``; None for inputs, initializers and outer values."""
        return self._producers.get(value)

    def consumers(self, value: str) -> Sequence[Node]:
        """Nodes of this scope that read ``value`` themselves or in a body, each once, in file order."""
        readers = self._consumers.get(value, ())
        edits = self.edits
        if edits is None and not isinstance(readers, dict):
            return readers
        found = readers.values() if isinstance(readers, dict) else readers
        assert edits is not None  # only edits make dictionaries
        if edits.backward or not self.is_sorted:
            return sorted(found, key=self.position)
        return sorted(found, key=edits.key)

    def defines(self, value: str) -> bool:
        """Whether ``value`` is an input, an initializer or a node output of this scope."""
        return value in self._producers or value in self._given

    @property
    def inputs_set(self) -> frozenset[str]:
        """Input names, for membership tests."""
        if self._inputs_set is None:
            self._inputs_set = frozenset(self.inputs)
        return self._inputs_set

    @property
    def initializers_set(self) -> frozenset[str]:
        """Initializer names, for membership tests."""
        if self._initializers_set is None:
            self._initializers_set = frozenset(self.initializers)
        return self._initializers_set

    def is_given(self, value: str) -> bool:
        """Whether ``value`` is an input or an initializer of this scope."""
        return value in self._given

    @property
    def nx(self) -> nx.DiGraph[int]:
        """The networkx view: integer ids, the Node under ``payload``, an edge per producer and consumer, captures
        included. It is built when first asked for and kept up to date by edits; don't change it directly."""
        if self._nx is None:
            import networkx

            view: nx.DiGraph[int] = networkx.DiGraph()
            view.add_nodes_from((node_id, {"payload": node}) for node_id, node in self._by_id.items())
            producers = self._producers
            view.add_edges_from(
                (producers[value].id, node.id)
                for node in self._by_id.values()
                for value in (*node.inputs, *node.captures)
                if value in producers
            )
            self._nx = view
        return self._nx

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
