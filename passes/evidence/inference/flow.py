"""One graph as arrays: topological order, neighbours, and what kind of value every node makes."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from modelexport.ir.attribution import Source
from modelexport.ir.editing.topology import in_order
from modelexport.ir.graph import Graph
from modelexport.ir.node import Node
from modelexport.ir.operators import Category, category
from modelexport.ir.scope import Scope
from modelexport.passes.evidence.names.slots import made_from

# How many of the nearest attributed modules are kept on each side. For swin, whose windows are cut and joined by shape
# operators between modules (with 1 it loses 585 right tags, 2,301 without names); most others would gain a little at 1.
_WIDTH = 4
_SHAPES = ("Shape", "Size")


class Kind(IntEnum):
    """What a node's value is made of."""

    CONSTANT = 0  # of nothing but constants and initializers
    SHAPE = 1  # of shapes and constants
    DATA = 2  # of graph inputs or of named parameters


class Flow:
    """The nodes of one graph in topological order, by position.

    Attributes:
        nodes: the nodes.
        before, after: positions of producers and of consumers, captures included.
        kind: what a node's value is made of.
        position: of a node, by its id.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: Sequence[Node] = in_order(graph)
        position = self.position = {node.id: index for index, node in enumerate(self.nodes)}
        producer = graph.producer
        self.before: list[list[int]] = []
        self.after: list[list[int]] = [[] for _ in self.nodes]
        for index, node in enumerate(self.nodes):
            makers: dict[int, None] = {}  # in the order of the inputs; there may be very many
            for value in (*node.inputs, *node.captures) if node.captures else node.inputs:
                maker = producer(value) if value else None
                if maker is not None:
                    at = position[maker.id]
                    if at not in makers:
                        makers[at] = None
                        self.after[at].append(index)
            self.before.append(list(makers))
        self.kind = self._kinds()

    def computing(self, index: int) -> list[int]:
        """The consumers of a node that compute with what it makes, and don't only take its type."""
        made = self.nodes[index].outputs
        return [at for at in self.after[index] if any(value in made for value in made_from(self.nodes[at]))]

    def is_weight(self, value: str) -> bool:
        """Whether ``value`` is an initializer of this graph or, in a body, of one around it."""
        around: Scope | None = self.graph
        while around is not None:
            if around.defines(value):
                return value in around.initializers_set
            around = around.parent
        return False

    def _kinds(self) -> list[Kind]:
        initializers = self.graph.initializers_set
        kinds: list[Kind] = []
        for index, node in enumerate(self.nodes):
            if node.op_type in _SHAPES:
                kinds.append(Kind.SHAPE)
                continue
            if category(node.op_type) is Category.CONSTANT:
                kinds.append(Kind.CONSTANT)
                continue
            if node.attribution is not None and node.attribution.source is Source.PARAMETER:
                kinds.append(Kind.DATA)
                continue
            makers = self.before[index]
            inputs = made_from(node)
            if len(inputs) < len(node.inputs):
                makers = [maker for maker in makers if any(value in inputs for value in self.nodes[maker].outputs)]
            kind = max((kinds[maker] for maker in makers), default=Kind.CONSTANT)
            if kind < Kind.DATA and not all(
                not value or value in initializers or self.graph.producer(value) is not None for value in inputs
            ):
                kind = Kind.DATA
            kinds.append(kind if makers or node.inputs else Kind.CONSTANT)
        return kinds

    def upstream(self, paths: Sequence[str | None], max_hops: int) -> list[tuple[str, ...]]:
        """For every node the modules of the nearest attributed nodes its data comes from, the latest first.

        A node whose nearest one is more than ``max_hops`` edges away has none.
        """
        found: list[dict[str, int]] = []
        result: list[tuple[str, ...]] = []
        nothing: dict[str, int] = {}
        hops = [0] * len(self.nodes)
        for index, makers in enumerate(self.before):
            if paths[index] is not None:
                found.append(nothing)
                result.append(())
                continue
            near: dict[str, int] = {}
            hops[index] = 1 + min((hops[maker] for maker in makers if self.kind[maker] >= Kind.DATA), default=max_hops)
            for maker in makers if hops[index] <= max_hops else ():
                if self.kind[maker] < Kind.DATA:
                    continue
                path = paths[maker]
                if path is not None:
                    near[path] = max(maker, near.get(path, -1))
                else:
                    for further, at in found[maker].items():
                        near[further] = max(at, near.get(further, -1))
            if len(near) > _WIDTH:
                near = dict(sorted(near.items(), key=lambda item: -item[1])[:_WIDTH])
            found.append(near)
            result.append(tuple(sorted(near, key=lambda path: -near[path])))
        return result

    def downstream(self, paths: Sequence[str | None], max_hops: int) -> list[tuple[str, ...]]:
        """For every node the modules of the nearest attributed nodes its value goes to, the earliest first.

        A node whose nearest one is more than ``max_hops`` edges away has none.
        """
        hops = [0] * len(self.nodes)
        found: list[dict[str, int]] = [{}] * len(self.nodes)
        result: list[tuple[str, ...]] = [()] * len(self.nodes)
        for index in range(len(self.nodes) - 1, -1, -1):
            if paths[index] is not None:
                continue
            near: dict[str, int] = {}
            hops[index] = 1 + min((hops[reader] for reader in self.after[index]), default=max_hops)
            for reader in self.after[index] if hops[index] <= max_hops else ():
                path = paths[reader]
                if path is not None:
                    near[path] = min(reader, near.get(path, reader))
                else:
                    for further, at in found[reader].items():
                        near[further] = min(at, near.get(further, at))
            if len(near) > _WIDTH:
                near = dict(sorted(near.items(), key=lambda item: item[1])[:_WIDTH])
            found[index] = near
            result[index] = tuple(sorted(near, key=near.__getitem__))
        return result
