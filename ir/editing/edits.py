"""What was edited in one scope; the writer reads it."""

from __future__ import annotations

import onnx

Key = tuple[int, int]


class Edits:
    """What was edited in one scope.

    Attributes:
        order: keys of new nodes by id.
        touched: ids of nodes whose inputs or outputs were changed.
        captured: what a node's bodies captured in the file, by id, where that is different now.
        removed: protos of the source's nodes that are gone, by id.
        renamed: present names of values, by the name in the file.
        forgotten: names in the file whose value_info no longer holds.
        backward: whether some edit let a node read a value made after it.
        next_id: id of the next new node.
        sequence: how many new nodes were placed.
        ranks: places of nodes in a topological order, where one was needed; None before and once they are stale.
        annotated: names in the file that quantization annotations mention; None until somebody asks.
    """

    __slots__ = (
        "_sources",
        "annotated",
        "backward",
        "captured",
        "forgotten",
        "next_id",
        "order",
        "ranks",
        "removed",
        "renamed",
        "sequence",
        "touched",
    )

    def __init__(self, first_free_id: int) -> None:
        self.order: dict[int, Key] = {}
        self.touched: set[int] = set()
        self.captured: dict[int, tuple[str, ...]] = {}
        self.removed: dict[int, onnx.NodeProto | None] = {}
        self.renamed: dict[str, str] = {}
        self.forgotten: set[str] = set()
        self.backward = False
        self.next_id = first_free_id
        self.sequence = 0
        self.ranks: dict[int, Key] | None = None
        self.annotated: frozenset[str] | None = None
        self._sources: dict[str, str] = {}  # renamed, the other way round

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

    def key(self, node_id: int) -> Key:
        """Place of a node among those of the file."""
        return self.order.get(node_id) or (node_id, 0)

    def stale(self) -> None:
        """Have ranks computed anew: an edge goes against them."""
        self.backward = True
        self.ranks = None
