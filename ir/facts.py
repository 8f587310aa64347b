"""What passes may promise about a model, and the machine checks of those promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum

from modelexport.ir.io.embedded_tags import PATH, tag_in_doc
from modelexport.ir.model import Model
from modelexport.ir.verify import Violation


class Fact(Enum):
    """What was done to a model, not how much of it: a fact can hold for a graph with no record at all."""

    SCOPED = "scoped"  # every readable record of a node's origin is applied
    INHERITED = "inherited"  # nodes with decided neighbours have been decided
    TAGGED = "tagged"  # every node has an attribution
    EMBEDDED = "embedded"  # the file says what the IR says

    def check(self, model: Model) -> Iterator[Violation]:
        """Every place where the fact does not hold."""
        yield from _CHECKS[self](model)


def _attributed_in_table(model: Model) -> Iterator[Violation]:
    for node in model.nodes():
        attribution = node.attribution
        if attribution is not None and not attribution.by:
            yield Violation(node.described, "its attribution does not name the pass that set it")


def _tagged(model: Model) -> Iterator[Violation]:
    for node in model.nodes():
        if node.attribution is None:
            yield Violation(node.described, "has no attribution")


def _embedded(model: Model) -> Iterator[Violation]:
    for node in model.nodes():
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


_CHECKS: dict[Fact, Callable[[Model], Iterator[Violation]]] = {
    Fact.SCOPED: _attributed_in_table,
    Fact.INHERITED: _attributed_in_table,
    Fact.TAGGED: _tagged,
    Fact.EMBEDDED: _embedded,
}
