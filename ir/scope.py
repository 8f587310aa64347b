"""One scope of a model as it can be read: its nodes, its values, who makes and who reads them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, Self

import onnx

from modelexport.ir.editing.edits import Edits
from modelexport.ir.state import ModelState
from modelexport.ir.text import text

if TYPE_CHECKING:
    import networkx as nx

    from modelexport.ir.node import Node

Kind = Literal["main", "body", "function"]
GraphLike = onnx.GraphProto | onnx.FunctionProto


class Index:
    """What is looked up in a scope. Only ``ir/proto/building.py`` and ``ir/editing`` change it.

    Attributes:
        by_id: nodes by id, in the order they were read or made.
        producers: the node that makes a value, by its name.
        consumers: the nodes that read a value themselves or in a body, each once.
        given: names of inputs and initializers.
        ordered: nodes in file order; None while that has to be found anew.
        positions: position in the file by node id; None while that has to be found anew.
        inputs, initializers: the names as sets; None while they have to be made anew.
        view: the networkx view, where somebody asked for it.
        names: of the main graph and of functions, the value names that are or were defined in it or in its bodies,
            where an edit asked.
    """

    __slots__ = (
        "by_id",
        "consumers",
        "given",
        "initializers",
        "inputs",
        "names",
        "ordered",
        "positions",
        "producers",
        "view",
    )

    def __init__(self, given: Iterable[str]) -> None:
        self.by_id: dict[int, Node] = {}
        self.producers: dict[str, Node] = {}
        self.consumers: dict[str, list[Node] | dict[int, Node]] = {}
        self.given = set(given)
        self.ordered: tuple[Node, ...] | None = None
        self.positions: dict[int, int] | None = None
        self.inputs: frozenset[str] | None = None
        self.initializers: frozenset[str] | None = None
        self.view: nx.DiGraph[int] | None = None
        self.names: set[str] | None = None

    def reorder(self) -> None:
        """Have the order of the nodes found anew."""
        self.ordered = self.positions = None


class Scope(ABC):
    """Nodes and values of one scope.

    Node ids are integers: a node that was read has its position in the file, a new one the next free number. Values are
    names; a value that is read here but made in an outer scope is a capture, and counts as an input of the node whose
    body reads it.

    Attributes:
        owner: the node whose body this is, else None.
        label: ``<attribute>[.<i>]`` of a body.
        inputs, outputs, initializers: value names in file order.
        bodies: bodies by the id of the node that owns them.
        edits: what was edited, or None.
        is_sorted: whether the file had every producer before its readers.
        defined_twice: values that more than one node, input or initializer defines.
    """

    bodies: dict[int, tuple[Self, ...]]

    def __init__(
        self, model: ModelState, proto: GraphLike, scope: str, kind: Kind, owner: Node | None = None, label: str = ""
    ) -> None:
        self.model = model
        self.proto = proto
        self._scope = scope
        self.kind: Kind = kind
        self.owner = owner
        self.label = label
        self.bodies = {}
        if isinstance(proto, onnx.GraphProto):
            self.inputs = [text(value.name) for value in proto.input]
            self.outputs = [text(value.name) for value in proto.output]
            self.initializers = [text(tensor.name) for tensor in proto.initializer]
            self.initializers += [text(tensor.values.name) for tensor in proto.sparse_initializer]
        else:
            self.inputs = [text(name) for name in proto.input]
            self.outputs = [text(name) for name in proto.output]
            self.initializers = []
        self.index = Index((*self.inputs, *self.initializers))
        self.edits: Edits | None = None
        self.is_sorted = True
        self.defined_twice: set[str] = set()

    def __len__(self) -> int:
        return len(self.index.by_id)

    @property
    @abstractmethod
    def nodes(self) -> Sequence[Node]:
        """Nodes in file order (where edits were made: in the order they will be written)."""

    @property
    def scope(self) -> str:
        """``main``, ``main/<position>.<attribute>[.<i>]`` for a body, ``function:<domain>:<name>:<overload>``.

        Positions are those in the file that will be written.
        """
        if self.owner is None:
            return self._scope
        around = self.owner.graph
        return f"{around.scope}/{around.position(self.owner)}.{self.label}"

    @property
    def name(self) -> str:
        """Name of the graph or function in the file."""
        return text(self.proto.name)

    @property
    def parent(self) -> Scope | None:
        """The scope around a body; None for the main graph and for functions."""
        return self.owner.graph if self.owner is not None else None

    @property
    def home(self) -> Scope:
        """The main graph or the function that this scope is in."""
        scope: Scope = self
        while scope.owner is not None:
            scope = scope.owner.graph
        return scope

    def find(self, value: str) -> Scope | None:
        """The innermost scope from this one outwards that defines ``value``; None where nothing does."""
        scope: Scope | None = self
        while scope is not None and not scope.defines(value):
            scope = scope.parent
        return scope

    def free_values(self) -> Iterator[str]:
        """Values that this scope reads, itself or in its bodies, and does not define; some more than once."""
        for value in (*self.index.consumers, *self.outputs):
            if value and not self.defines(value):
                yield value

    def node(self, node_id: int) -> Node:
        """The node with this id. Raises KeyError."""
        return self.index.by_id[node_id]

    def position(self, node: Node) -> int:
        """Position of a node of this scope in the file (where edits were made: that will be written)."""
        if self.edits is None:
            return node.id
        positions = self.index.positions
        if positions is None:
            positions = self.index.positions = {other.id: place for place, other in enumerate(self.nodes)}
        return positions.get(node.id, node.id)

    def producer(self, value: str) -> Node | None:
        """The node of this scope that makes ``value``; None for inputs, initializers and outer values."""
        return self.index.producers.get(value)

    def consumers(self, value: str) -> Sequence[Node]:
        """Nodes of this scope that read ``value`` themselves or in a body, each once, in file order."""
        readers = self.index.consumers.get(value, ())
        edits = self.edits
        if edits is None and not isinstance(readers, dict):
            return readers
        found = readers.values() if isinstance(readers, dict) else readers
        assert edits is not None  # only edits make dictionaries
        if edits.backward or not self.is_sorted:
            return sorted(found, key=self.position)
        return sorted(found, key=lambda node: edits.key(node.id))

    def defines(self, value: str) -> bool:
        """Whether ``value`` is an input, an initializer or a node output of this scope."""
        return value in self.index.producers or value in self.index.given

    def is_given(self, value: str) -> bool:
        """Whether ``value`` is an input or an initializer of this scope."""
        return value in self.index.given

    @property
    def inputs_set(self) -> frozenset[str]:
        """Input names, for membership tests."""
        if self.index.inputs is None:
            self.index.inputs = frozenset(self.inputs)
        return self.index.inputs

    @property
    def initializers_set(self) -> frozenset[str]:
        """Initializer names, for membership tests."""
        if self.index.initializers is None:
            self.index.initializers = frozenset(self.initializers)
        return self.index.initializers
