"""coverage-validation: fail when too much is untagged, guessed or uncertain."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from modelexport.ir.attribution import Source
from modelexport.ir.errors import ConfigError, CoverageValidationError
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.passes.pipeline.base import Pass, PassContext, PassResult

_NAMED_IN_MESSAGE = 3


@dataclass(frozen=True)
class CoverageValidation(Pass):
    """Count attributions by source and fail, naming the nodes, when they are outside the bounds.

    Attributes:
        min_coverage: share of nodes, 0..1, that must have an attribution.
        max_fallback: share of nodes, 0..1, that may come from fallback-tagging.
        min_confidence: confidence, 0..1, that every attribution must have.
    """

    name: ClassVar[str] = "coverage-validation"
    reads_weights: ClassVar[bool] = False

    min_coverage: float = 1.0
    max_fallback: float = 1.0
    min_confidence: float = 0.0

    def __post_init__(self) -> None:
        """Raises ConfigError: a bound is not a share."""
        for option, bound in vars(self).items():
            if not 0.0 <= bound <= 1.0:
                raise ConfigError(f"{option.replace('_', '-')}={bound:g} is not between 0 and 1")

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        """Count, and compare with the bounds.

        Raises:
            CoverageValidationError: a bound does not hold.
        """
        by_source: Counter[Source] = Counter()
        untagged: list[Node] = []
        fallback: list[Node] = []
        uncertain: list[Node] = []
        total = 0
        for node in model.nodes():
            total += 1
            attribution = node.attribution
            if attribution is None:
                untagged.append(node)
                continue
            by_source[attribution.source] += 1
            if attribution.source is Source.FALLBACK:
                fallback.append(node)
            if attribution.confidence < self.min_confidence:
                uncertain.append(node)
        if total and len(untagged) > (1.0 - self.min_coverage) * total:
            _fail(f"{1 - len(untagged) / total:.1%} of {total} nodes are tagged", f"{self.min_coverage:.1%}", untagged)
        if total and len(fallback) > self.max_fallback * total:
            share = f"{len(fallback) / total:.1%} of {total} nodes have only a fallback tag"
            _fail(share, f"at most {self.max_fallback:.1%}", fallback)
        if uncertain:
            count = f"{len(uncertain)} of {total} nodes are below the confidence asked for"
            _fail(count, f"at least {self.min_confidence:g}", uncertain)
        coverage = (total - len(untagged)) / total if total else 1.0
        return PassResult(
            notes={
                "nodes": total,
                "coverage": round(coverage, 6),
                "by source": {str(source): n for source, n in by_source.items()},
            }
        )


def _fail(found: str, asked: str, nodes: list[Node]) -> None:
    offending = tuple(node.described for node in nodes)
    more = f" and {len(offending) - _NAMED_IN_MESSAGE} more" if len(offending) > _NAMED_IN_MESSAGE else ""
    shown = "; ".join(offending[:_NAMED_IN_MESSAGE])
    raise CoverageValidationError(f"coverage-validation: {found}, asked for {asked}: {shown}{more}", offending)
