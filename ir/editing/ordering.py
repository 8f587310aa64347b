"""The order of an edited graph's nodes: where new nodes go, what would be a cycle, when to sort anew.

Every node has an order key: a node of the file its position, a new one the key of its last producer with the next
number of a sequence. Keys of a sorted graph are a topological order until an edit lets a node read a later one's value;
from then on, and for a graph whose file is not sorted, ranks from a topological sort stand in for the keys when a new
edge is checked, and the file order is sorted anew only if an edit brought a violation that the file did not have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from modelexport.ir.errors import GraphError
from modelexport.ir.node import Node
from modelexport.ir.text import shown, text

if TYPE_CHECKING:
    from modelexport.ir.graph import Graph

Key = tuple[int, int]


class Edits:
    """What was edited in one graph; the writer reads it.

    Attributes:
        order: keys of new nodes by id.
        touched: ids of nodes whose inputs or outputs were changed.
        captured: what a node's bodies captured in the file, by id, where that is different now.
        removed: source nodes that are gone, by id.
        renamed: present names of values, by the name in the file.
        forgotten: names in the file whose value_info no longer holds.
        backward: whether some edit let a node read a value made after it.
    """

    __slots__ = (
        "_annotated",
        "_rank",
        "_sources",
        "backward",
        "captured",
        "forgotten",
        "next_id",
        "order",
        "removed",
        "renamed",
        "sequence",
        "touched",
    )

    def __init__(self, first_free_id: int) -> None:
        self.order: dict[int, Key] = {}
        self.touched: set[int] = set()
        self.captured: dict[int, tuple[str, ...]] = {}
        self.removed: dict[int, Node] = {}
        self.renamed: dict[str, str] = {}
        self.forgotten: set[str] = set()
        self.backward = False
        self.next_id = first_free_id
        self.sequence = 0
        self._rank: dict[int, Key] | None = None
        self._sources: dict[str, str] = {}  # renamed, the other way round
        self._annotated: frozenset[str] | None = None

    def rename(self, old: str, new: str) -> None:
        """Record that the value now called ``old`` is called ``new``."""
        source = self._sources.pop(old, None)
        if source is None:
            if old in self.renamed:
                return  # the file's value of that name has another one now: this is a new value
            source = old
        if source == new:
            self.renamed.pop(source, None)
        else:
            self.renamed[source] = new
            self._sources[new] = source

    def source_of(self, value: str) -> str:
        """Name in the file of the value now called ``value``."""
        return self._sources.get(value, value)

    def annotated(self, graph: Graph) -> frozenset[str]:
        """Names in the file that quantization annotations mention."""
        if self._annotated is None:
            annotations = graph.proto.quantization_annotation if isinstance(graph.proto, onnx.GraphProto) else ()
            self._annotated = frozenset(
                text(name)
                for annotation in annotations
                for name in (annotation.tensor_name, *(e.value for e in annotation.quant_parameter_tensor_names))
            )
        return self._annotated

    def key(self, node: Node) -> Key:
        """Place of a node among those of the file."""
        return self.order.get(node.id) or (node.id, 0)

    def rank(self, graph: Graph, node: Node) -> Key:
        """Place of a node in a topological order."""
        if graph.is_sorted and not self.backward:
            return self.key(node)
        if self._rank is None:
            import networkx

            self._rank = {node_id: (rank, 0) for rank, node_id in enumerate(networkx.topological_sort(graph.nx))}
        return self._rank[node.id]

    def place(self, graph: Graph, node: Node) -> None:
        """Give a new node its key and its rank, behind the producers of what it reads."""
        self.sequence += 1
        producers = [graph._producers[value] for value in (*node.inputs, *node.captures) if value in graph._producers]
        self.order[node.id] = (max([self.key(p)[0] for p in producers], default=-1), self.sequence)
        if self._rank is not None:
            self._rank[node.id] = (max([self._rank[p.id][0] for p in producers], default=-1), self.sequence)

    def stale(self) -> None:
        """Have ranks computed anew: an edge goes against them."""
        self.backward = True
        self._rank = None


def edits_of(graph: Graph) -> Edits:
    """The record of edits of ``graph``, begun now if there is none."""
    if graph.edits is None:
        graph.edits = Edits(len(graph._by_id))
    return graph.edits


def check_edge(graph: Graph, value: str, node: Node) -> bool:
    """Refuse that ``node`` reads ``value`` when ``value`` depends on ``node``, in this scope or, captured, outside.

    Returns whether the edge goes backward, so that ranks become stale once it is there. Raises GraphError.
    """
    scope = graph
    while True:
        producer = scope._producers.get(value)
        if producer is not None:
            return _goes_backward(scope, producer, node, value)
        if scope.owner is None or scope.defines(value):
            return False
        node = scope.owner
        scope = node.graph


def mark_backward(graph: Graph, value: str) -> None:
    """Note a backward edge where ``value`` is defined."""
    scope: Graph | None = graph
    while scope is not None and value not in scope._producers:
        scope = scope.parent
    if scope is not None:
        edits_of(scope).stale()
        scope._ordered = scope._positions = None


def _goes_backward(graph: Graph, producer: Node, node: Node, value: str) -> bool:
    edits = edits_of(graph)
    if producer is not node and edits.rank(graph, producer) < edits.rank(graph, node):
        return False
    bound = edits.rank(graph, producer)
    seen = {node.id}
    stack = [node]
    while stack:
        current = stack.pop()
        if current is producer:
            raise GraphError(f"{graph.scope}: reading {shown(value)!r} there would make the graph cyclic")
        for output in current.outputs:
            readers = graph._consumers.get(output, ()) if graph._producers.get(output) is current else ()
            for reader in readers.values() if isinstance(readers, dict) else readers:
                if reader.id not in seen and edits.rank(graph, reader) <= bound:
                    seen.add(reader.id)
                    stack.append(reader)
    if graph.defined_twice:
        raise GraphError(f"{graph.scope}: values are defined twice, so its nodes can't be put in another order")
    return True


def file_order(graph: Graph) -> tuple[Node, ...]:
    """Nodes in the order they are, or will be, in the file."""
    edits = graph.edits
    if edits is None:
        return tuple(graph._by_id.values())
    nodes = sorted(graph._by_id.values(), key=edits.key)
    if (edits.backward or not graph.is_sorted) and not graph.defined_twice and _has_new_violation(graph, edits, nodes):
        import networkx

        by_id = graph._by_id
        ids = networkx.lexicographical_topological_sort(graph.nx, key=lambda node_id: edits.key(by_id[node_id]))
        return tuple(by_id[node_id] for node_id in ids)
    return tuple(nodes)


def _has_new_violation(graph: Graph, edits: Edits, nodes: list[Node]) -> bool:
    done: set[int] = set()
    for node in nodes:
        for value in (*node.inputs, *node.captures):
            producer = graph._producers.get(value)
            if producer is not None and producer.id not in done and not _in_source(edits, producer, node):
                return True
        done.add(node.id)
    return False


def _in_source(edits: Edits, producer: Node, node: Node) -> bool:
    """Whether the file already lets ``node`` read something of ``producer``."""
    if producer.id in edits.order or node.id in edits.order or producer.proto is None or node.proto is None:
        return False
    if node.id not in edits.touched and node.id not in edits.captured and producer.id not in edits.touched:
        return True
    reads = [*map(text, node.proto.input), *edits.captured.get(node.id, node.captures)]
    return not {*map(text, producer.proto.output)}.isdisjoint(reads)
