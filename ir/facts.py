"""What passes may promise about a model, and the machine checks of those promises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import Enum

from modelexport.ir.attribution import Source
from modelexport.ir.io.embedded_tags import NODE_KEYS, PATH, read_node, tag_in_doc
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.verify import Violation

_KEYS = frozenset(NODE_KEYS)
_WEAK = (Source.INHERITED, Source.FALLBACK)


class Fact(Enum):
    """What was done to a model, not how much of it: a fact can hold for a graph with no record at all."""

    SCOPED = "scoped"  # no open node has a readable record of its own
    INHERITED = "inherited"  # no open node is read by one that is on record
    TAGGED = "tagged"  # every node has an attribution
    EMBEDDED = "embedded"  # the file says what the IR says

    def check(self, model: Model, sample: int | None = None) -> Iterator[Violation]:
        """Every place where the fact does not hold; with ``sample``, those among about so many nodes of the model."""
        yield from _CHECKS[self](model.nodes() if sample is None else _spread(model, sample))


def _spread(model: Model, most: int) -> Iterator[Node]:
    """All nodes of a model that has up to ``most``, else that many, spread evenly over each scope."""
    graphs = list(model.graphs())
    step = -(-sum(len(graph) for graph in graphs) // most) or 1
    return (node for graph in graphs for node in graph.nodes[::step])


def _unnamed(node: Node) -> Violation:
    return Violation(node.described, "its attribution does not name the pass that set it")


def _scoped(nodes: Iterable[Node]) -> Iterator[Violation]:
    """No node is left open whose own metadata or doc string says where it is from."""
    for node in nodes:
        attribution = node.attribution
        if attribution is not None:
            if not attribution.by:
                yield _unnamed(node)
            continue
        record = read_node(node.metadata) if node.has_metadata(_KEYS) else None
        if record is None and node.has_doc_string:
            carried = tag_in_doc(node.doc_string)
            record = read_node(carried) if carried is not None else None
        if record is not None:
            yield Violation(node.described, f"is open, and its own record says {record.path!r}")


def _inherited(nodes: Iterable[Node]) -> Iterator[Violation]:
    """No node is left open that a node with stronger evidence than its neighbours reads."""
    for node in nodes:
        attribution = node.attribution
        if attribution is not None:
            if not attribution.by:
                yield _unnamed(node)
            continue
        graph = node.graph  # readers of a value that two nodes of a damaged graph make are those of the first
        made = (value for value in node.outputs if value and graph.producer(value) is node)
        for reader in (reader for value in made for reader in graph.consumers(value)):
            if reader.attribution is not None and reader.attribution.source not in _WEAK:
                yield Violation(node.described, f"is open, and {reader.described} that reads it is not")
                break


def _tagged(nodes: Iterable[Node]) -> Iterator[Violation]:
    for node in nodes:
        if node.attribution is None:
            yield Violation(node.described, "has no attribution")


def _embedded(nodes: Iterable[Node]) -> Iterator[Violation]:
    for node in nodes:
        attribution = node.attribution
        if attribution is None:
            continue
        patch = node.patch
        written = patch.get(PATH) if patch is not None else None
        if written is None:
            written = node.metadata.get(PATH)
        if written is None and node.has_doc_string:
            written = (tag_in_doc(node.doc_string) or {}).get(PATH)
        if written != attribution.path:
            yield Violation(node.described, f"metadata says {written!r}, the IR says {attribution.path!r}")


_CHECKS: dict[Fact, Callable[[Iterable[Node]], Iterator[Violation]]] = {
    Fact.SCOPED: _scoped,
    Fact.INHERITED: _inherited,
    Fact.TAGGED: _tagged,
    Fact.EMBEDDED: _embedded,
}
