"""parameter-attribution: a node that computes with a module's parameters is from that module."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import ClassVar

from modelexport.ir.attribution import Source
from modelexport.ir.graph import Graph
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.operators import Category, category
from modelexport.passes.evidence.inference.confidence import ALONE, confidence
from modelexport.passes.evidence.names.anchors import FUNCTIONAL, INITIALIZER, anchors, weights_read
from modelexport.passes.evidence.names.parameters import ParameterIndex, owner_of
from modelexport.passes.evidence.values.initializers import Initializers
from modelexport.passes.evidence.values.weights_match import Owner, WeightIndex
from modelexport.passes.pipeline.base import Pass, PassContext, PassResult
from modelexport.passes.pipeline.traces import adopt_modules, open_trace

BIAS = "bias-of-product"


@dataclass(frozen=True)
class ParameterAttribution(Pass):
    """Attribute nodes by the parameters they read, known by name or, with a trace, by their values.

    Values are recognised as they are, transposed, scaled per row (a folded batch norm, a quantisation) and merged from
    several parameters. A bias is added by the module whose product it is added to.

    Attributes:
        trace: the trace file; without it the one given with ``--trace``; without any, only names are looked at.
        values: whether to compare values too, which reads the weights.
    """

    name: ClassVar[str] = "parameter-attribution"
    trace: str = field(default="", metadata={"path": True})
    values: bool = True

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        """Raises InputError when a trace was given and can't be read."""
        trace = open_trace(self.trace, ctx)
        if trace is not None:
            adopt_modules(model, trace)
        if all(_is_settled(node) for node in model.nodes()):
            return PassResult(notes={"by rule": {}})
        index = WeightIndex(trace)
        work = _Work(model, ctx, index.trace is not None)
        work.names(index)
        if self.values and trace is not None:
            work.values(index)
        for graph in model.graphs():
            work.attribute(graph)
        return PassResult(changed=ctx.counts.total(), notes={"by rule": {}, "initializers": work.found()})


class _Work:
    def __init__(self, model: Model, ctx: PassContext, traced: bool) -> None:
        self.model, self.ctx, self.traced = model, ctx, traced
        self.owners: dict[str, Owner] = {}
        self.alone = all(node.attribution is None for node in model.nodes())

    def found(self) -> dict[str, int]:
        """Number of initializers by the rule that found their module."""
        return dict(Counter(owner.rule for owner in self.owners.values()))

    def names(self, index: WeightIndex) -> None:
        """Owners that initializer names spell, where they place a node."""
        placing = ParameterIndex.of(self.model).owner
        for graph in self.model.graphs():
            for name in graph.initializers:
                merged = name not in placing and owner_of(name) is not None
                owner = None if merged else index.by_name(name)
                if owner is not None:
                    self.owners[name] = owner

    def values(self, index: WeightIndex) -> None:
        """Owners of the other initializers of the main graph that an undecided node reads, by their values."""
        weights = Initializers(self.model)
        for name in self.model.main.initializers:
            readers = self.model.main.consumers(name)
            if name in self.owners or all(_is_settled(reader) for reader in readers):
                continue
            array = weights.get(name)
            owner = index.by_value(array) if array is not None else None
            if owner is not None:
                self.owners[name] = owner

    def attribute(self, graph: Graph) -> None:
        """Attribute what reads parameters, then products by their bias and biases by their product."""
        parameters = ParameterIndex(())
        parameters.owner = {name: owner.path for name, owner in self.owners.items()}
        for node, path, rule in anchors(graph, parameters):
            owner = next((o for v in node.inputs if (o := self.owners.get(v)) is not None and o.path == path), None)
            if owner is None or (rule != INITIALIZER and (rule == FUNCTIONAL or not self.traced)):
                self._set(node, path, rule, weights_read(node, parameters, path))
            else:
                self._set(node, path, owner.rule, owner.parameters)
        unnamed = graph.initializers_set - self.owners.keys()
        for node in graph.nodes:
            if node.op_type == "Add" and len(node.inputs) == 2:
                self._bias(graph, node, unnamed)

    def _bias(self, graph: Graph, add: Node, unnamed: frozenset[str]) -> None:
        products = [p for value in add.inputs if (p := graph.producer(value)) is not None]
        if len(products) != 1 or not any(value in graph.initializers_set for value in add.inputs):
            return
        product = products[0]
        weighs = category(product.op_type) is Category.COMPUTE and len(product.inputs) == 2
        if not weighs or len(graph.consumers(product.first_output)) != 1:
            return
        left, right = product.attribution, add.attribution
        if left is None and right is not None and right.source is Source.PARAMETER and product.inputs[1] in unnamed:
            self._set(product, right.path, BIAS, right.evidence)
        elif right is None and left is not None and left.source is Source.PARAMETER:
            self._set(add, left.path, BIAS, left.evidence)

    def _set(self, node: Node, path: str, rule: str, evidence: tuple[str, ...]) -> None:
        path = self.model.modules.canonical(path)
        sure = ALONE.get(rule, confidence(rule)) if self.alone else confidence(rule)
        held = node.attribution
        if held is not None:
            weaker = held.source in (Source.PARAMETER, Source.INHERITED, Source.FALLBACK) and held.confidence < sure
            if held.path == path or not weaker:
                return
        self.ctx.attribute(node, path, Source.PARAMETER, rule, evidence, confidence=sure)


def _is_settled(node: Node) -> bool:
    """Whether the node's tag rests on stronger evidence than parameters are."""
    return node.attribution is not None and node.attribution.source in (Source.SCOPE, Source.REFERENCE, Source.VALUE)
