"""A pass of a third party: what one needs to write, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from modelexport.ir import Model, Source
from modelexport.passes import Fact, Pass, PassContext, PassResult

RELU_ALL = "relu-attribution,scope-attribution,fallback-tagging,attribute-embedding"


@dataclass(frozen=True)
class ReluAttribution(Pass):
    """Attribute every Relu to one module.

    Attributes:
        path: the module.
        confidence: how sure that is.
    """

    name: ClassVar[str] = "relu-attribution"
    establishes: ClassVar[frozenset[Fact]] = frozenset()

    path: str = "activations"
    confidence: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 1:
            raise ValueError("confidence must be between 0 and 1")

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        for node in model.nodes():
            if node.op_type == "Relu" and node.attribution is None:
                evidence = (node.first_output,)
                ctx.attribute(node, self.path, Source.INHERITED, "relu", evidence, confidence=self.confidence)
        return PassResult(changed=ctx.counts.total())
