"""fallback-tagging: a tag for what nothing decided, marked as a guess."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from modelexport.ir.attribution import Source
from modelexport.ir.facts import Fact
from modelexport.ir.model import Model
from modelexport.passes.evidence.inference.bodies import cap_bodies
from modelexport.passes.pipeline.base import Pass, PassContext, PassResult


@dataclass(frozen=True)
class FallbackTagging(Pass):
    """Attribute what is left to the module that runs the scope it is in, at the last to the root."""

    name: ClassVar[str] = "fallback-tagging"
    establishes: ClassVar[frozenset[Fact]] = frozenset({Fact.TAGGED})
    reads_weights: ClassVar[bool] = False

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        return self.attribute(model, ctx)

    def attribute(self, model: Model, ctx: PassContext) -> PassResult:
        """What the pass does, as part of the pass that runs."""
        for graph in model.graphs():
            owner = graph.owner.attribution if graph.owner is not None else None
            path, rule = (owner.path, "nearest-ancestor") if owner is not None else ("", "root")
            runs = graph.owner.described if graph.owner is not None else graph.scope
            for node in graph.nodes:
                if node.attribution is None:
                    ctx.attribute(node, path, Source.FALLBACK, rule, (runs,))
        cap_bodies(model, ctx.running)
        return PassResult(changed=ctx.counts.total())
