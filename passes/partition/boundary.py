"""Which nodes a piece is made of, and which values cross its boundary."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import onnx

from modelexport.ir.editing.topology import in_order
from modelexport.ir.graph import Graph
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.operators import draws_random
from modelexport.ir.text import text


@dataclass(frozen=True, slots=True)
class Cut:
    """A set of nodes of the main graph with its boundary.

    Attributes:
        nodes: the nodes, constants that they read included, in execution order.
        absorbed: nodes that are no members and came along, since they lie between members.
        inputs: graph inputs in the graph's order, then values that other nodes make, in execution order.
        outputs: graph outputs in the graph's order, then values that other nodes read, in execution order.
    """

    nodes: tuple[Node, ...]
    absorbed: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Dataflow:
    """The main graph of a model as partitioning sees it: execution order, dependencies, constants."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.graph: Graph = model.main
        self.order: Sequence[Node] = in_order(model.main)
        self.reads = {node: tuple(dict.fromkeys(v for v in (*node.inputs, *node.captures) if v)) for node in self.order}
        self.makers = {
            node: tuple({p: None for value in reads if (p := self.graph.producer(value)) is not None})
            for node, reads in self.reads.items()
        }
        self._draws: dict[Graph, bool] = {}
        self.constants = self._find_constants()
        proto = model.proto.graph
        self.fed = [text(value.name) for value in proto.input if text(value.name) not in self.graph.initializers_set]

    def cut(self, members: Collection[Node], *, close: bool = True) -> Cut:
        """The piece of these members, with all nodes between them if ``close``, and the constants that it reads."""
        members = {node for node in members if node not in self.constants}
        absorbed = self._between(members) if close else set()
        kept = members | absorbed
        nodes = kept | self.constants_of(kept)
        return Cut(
            tuple(node for node in self.order if node in nodes),
            tuple(node for node in self.order if node in absorbed),
            tuple(self._inputs(kept, nodes)),
            tuple(self._outputs(kept)),
        )

    def whole(self) -> Cut:
        """All of the graph."""
        return Cut(tuple(self.order), (), tuple(self.fed), tuple(self.graph.outputs))

    def is_random(self, node: Node) -> bool:
        """Whether the node's values differ from run to run, by itself, in a body or in a function that it calls."""
        if draws_random(node.op_type, node.inputs):
            return True
        function = self.model.function(node.domain, node.op_type, node.overload)
        return any(self._draws_inside(graph) for graph in (*node.bodies, *([function] if function else ())))

    def _draws_inside(self, graph: Graph) -> bool:
        if graph not in self._draws:
            self._draws[graph] = any(self.is_random(node) for node in graph.nodes)
        return self._draws[graph]

    def _find_constants(self) -> set[Node]:
        """Nodes that depend on initializers and other constants alone, and always give the same."""
        found: set[Node] = set()
        weights = self.graph.initializers_set
        for node in self.order:
            producers = self.makers[node]
            if all(p in found for p in producers) and not self.is_random(node):
                made = {value for p in producers for value in p.outputs}
                if all(value in made or value in weights for value in self.reads[node]):
                    found.add(node)
        return found

    def _between(self, members: set[Node]) -> set[Node]:
        """Nodes on a way from one member to another that leaves the members."""
        after = self.behind(members)
        readers: dict[Node, list[Node]] = {node: [] for node in self.order}
        for node, producers in self.makers.items():
            for producer in producers:
                readers[producer].append(node)
        before = self._reached(reversed(self.order), members, lambda node: readers[node])
        return (after & before) - members

    def behind(self, nodes: Collection[Node]) -> set[Node]:
        """Nodes that depend on one of ``nodes``; of these themselves those that depend on another."""
        return self._reached(self.order, nodes, lambda node: self.makers[node])

    @staticmethod
    def _reached(
        order: Iterable[Node], start: Collection[Node], neighbours: Callable[[Node], Iterable[Node]]
    ) -> set[Node]:
        reached: set[Node] = set()
        for node in order:
            if any(other in reached or other in start for other in neighbours(node)):
                reached.add(node)
        return reached

    def constants_of(self, nodes: Iterable[Node]) -> set[Node]:
        """Constant nodes that these nodes read, themselves or through other constants."""
        found: set[Node] = set()
        waiting = [maker for node in nodes for maker in self.makers[node]]
        while waiting:
            node = waiting.pop()
            if node in self.constants and node not in found:
                found.add(node)
                waiting.extend(self.makers[node])
        return found

    def _inputs(self, kept: Collection[Node], nodes: Collection[Node]) -> list[str]:
        read = {value for node in kept for value in self.reads[node]}
        crossing = [value for value in self.graph.inputs if value in read and value not in self.graph.initializers_set]
        for node in self.order:
            if node not in nodes:
                crossing += [value for value in node.outputs if value in read and self.graph.producer(value) is node]
        known = {*crossing, *self.graph.initializers_set, *(value for node in nodes for value in node.outputs)}
        return crossing + sorted(read - known)  # at last what nothing makes: a damaged graph says so when it is typed

    def _outputs(self, kept: Collection[Node]) -> list[str]:
        given = set(self.graph.outputs)
        crossing: list[str] = []
        for node in self.order:
            if node in kept:
                for value in node.outputs:
                    if value and value not in given and any(r not in kept for r in self.graph.consumers(value)):
                        crossing.append(value)
        made = {value for node in kept for value in node.outputs}
        return [value for value in dict.fromkeys(self.graph.outputs) if value in made] + crossing


def kept_initializer_inputs(model: Model, cut: Cut) -> list[onnx.ValueInfoProto]:
    """Descriptions of the initializers a cut reads that are inputs of the graph too, as old files have them."""
    weights = model.main.initializers_set
    read = {value for node in cut.nodes for value in (*node.inputs, *node.captures)}
    return [v for v in model.proto.graph.input if text(v.name) in weights and text(v.name) in read]
