"""constant-deduplication: one Constant where a module has several that are equal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from modelexport.ir.facts import Fact
from modelexport.ir.graph import Graph
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.passes.pipeline.base import Pass, PassContext, PassResult
from modelexport.passes.rewriting.constant_folding import constant_value


@dataclass(frozen=True)
class ConstantDeduplication(Pass):
    """Let equal Constants of one module be one node; those of different modules stay apart, so no tag is lost.

    Attributes:
        max_bytes: size up to which values are compared.
    """

    name: ClassVar[str] = "constant-deduplication"
    invalidates: ClassVar[frozenset[Fact]] = frozenset({Fact.EMBEDDED})
    metadata_only: ClassVar[bool] = False
    max_bytes: int = 65536

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        merged = sum(self._merge(graph) for graph in list(model.graphs()) if graph.is_sorted)
        return PassResult(merged, merged > 0, {"merged": merged})

    def _merge(self, graph: Graph) -> int:
        first: dict[tuple[object, ...], Node] = {}
        merged = 0
        for node in list(graph.nodes):
            value = constant_value(node, self.max_bytes)
            if value is None:
                continue
            path = node.attribution.path if node.attribution is not None else None
            kept = first.setdefault((path, value.dtype.str, value.shape, value.tobytes()), node)
            if kept is not node and _hand_over(graph, node, kept):
                merged += 1
        return merged


def _hand_over(graph: Graph, node: Node, kept: Node) -> bool:
    """Let ``kept`` serve the readers of ``node``, which is then removed; not where a body or an output reads it."""
    value, other = node.first_output, kept.first_output
    readers = list(graph.consumers(value))
    if value in graph.outputs or any(value in reader.captures for reader in readers):
        return False
    for reader in readers:
        for slot, name in enumerate(reader.inputs):
            if name == value:
                graph.rewire(reader, slot, other)
    graph.remove(node)
    return True
