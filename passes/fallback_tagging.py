"""fallback-tagging: a tag for what nothing decided, marked as a guess."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from modelexport.ir.attribution import Attribution, Source
from modelexport.ir.facts import Fact
from modelexport.ir.model import Model
from modelexport.passes.evidence.inference.bodies import cap_bodies
from modelexport.passes.evidence.inference.confidence import confidence
from modelexport.passes.pipeline.base import Pass, PassContext, PassResult


@dataclass(frozen=True)
class FallbackTagging(Pass):
    """Attribute what is left to the module that runs the scope it is in, at the last to the root."""

    name: ClassVar[str] = "fallback-tagging"
    establishes: ClassVar[frozenset[Fact]] = frozenset({Fact.TAGGED})

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        """See the class."""
        return self.attribute(model, self.name)

    def attribute(self, model: Model, by: str) -> PassResult:
        """What the pass does, as part of the pass ``by``."""
        shared: dict[tuple[str, str], Attribution] = {}
        counts: Counter[str] = Counter()
        for graph in model.graphs():
            owner = graph.owner.attribution if graph.owner is not None else None
            path, rule = (owner.path, "nearest-ancestor") if owner is not None else ("", "root")
            for node in graph.nodes:
                if node.attribution is not None:
                    continue
                attribution = shared.get((path, rule))
                if attribution is None:
                    attribution = Attribution(path, Source.FALLBACK, rule, confidence(rule), (), by)
                    shared[path, rule] = attribution
                    model.modules.ensure(path)
                node.attribute_to(attribution)
                counts[rule] += 1
        cap_bodies(model, self.name)
        return PassResult(changed=counts.total(), notes={"by rule": dict(counts)})
