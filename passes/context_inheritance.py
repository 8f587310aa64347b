"""context-inheritance: give a node without a record the module that what is around it agrees on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from modelexport.ir.attribution import Attribution, Source
from modelexport.ir.facts import Fact
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.operators import Category, category
from modelexport.passes.evidence.confidence import confidence
from modelexport.passes.pipeline.base import Pass, PassContext, PassResult


@dataclass(frozen=True)
class ContextInheritance(Pass):
    """Attribute nodes by their consumers, else by what is around them.

    Attributes:
        max_hops: how far consumers and producers are looked for.
    """

    name: ClassVar[str] = "context-inheritance"
    requires: ClassVar[frozenset[Fact]] = frozenset({Fact.SCOPED})
    establishes: ClassVar[frozenset[Fact]] = frozenset({Fact.INHERITED})

    max_hops: int = 8

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        """See the class."""
        counts: Counter[str] = Counter()
        shared: dict[tuple[str, str], Attribution] = {}

        def attribute(node: Node, path: str, rule: str) -> None:
            attribution = shared.get((path, rule))
            if attribution is None:
                attribution = Attribution(path, Source.INHERITED, rule, confidence(rule), (), self.name)
                shared[path, rule] = attribution
            node.attribute_to(attribution)
            counts[rule] += 1

        for graph in model.graphs():
            for node in reversed(graph.nodes):
                if node.attribution is not None:
                    continue
                paths = {
                    reader.attribution.path
                    for value in node.outputs
                    for reader in graph.consumers(value)
                    if reader.attribution is not None
                }
                kind = "constant" if category(node.op_type) is Category.CONSTANT else "shape"
                if len(paths) == 1:
                    attribute(node, paths.pop(), f"{kind}-consumers")
                elif paths:
                    attribute(node, model.modules.common(paths), f"{kind}-common")
        return PassResult(changed=counts.total(), notes={"by rule": dict(counts)})
