"""The context's helper for attributions: sharing, counting, confidence, and whose they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

from modelexport.ir.attribution import Source
from modelexport.ir.errors import ConfigError
from modelexport.ir.model import Model
from modelexport.passes import Pass, PassContext, PassResult
from modelexport.passes.evidence.inference.confidence import confidence
from modelexport.passes.testing import make_model

_TEXT = "g (float[N] X) => (float[N] Y) { a = Relu (X) b = Exp (a) Y = Neg (b) }"


@dataclass(frozen=True)
class Outer(Pass):
    """Attribute Relu and Exp, each with the evidence that is given, and Neg through another pass."""

    name: ClassVar[str] = "outer"
    evidence: str = "same"

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        first, second, _ = model.nodes()
        ctx.attribute(first, "enc", Source.INHERITED, "owner", ("same",))
        ctx.attribute(second, "enc", Source.INHERITED, "owner", (self.evidence,))
        inner = Inner().run(model, ctx)
        assert inner.notes == {"by rule": {"root": 1}} and ctx.running == "outer"
        return PassResult(changed=ctx.counts.total(), notes={"more": 1})


@dataclass(frozen=True)
class Inner(Pass):
    """Attribute what is left to the root."""

    name: ClassVar[str] = "inner"

    def run(self, model: Model, ctx: PassContext) -> PassResult:
        for node in model.nodes():
            if node.attribution is None:
                ctx.attribute(node, "", Source.FALLBACK, "root", ("main",))
        return PassResult(changed=ctx.counts.total())


def test_equal_attributions_are_one_object_and_are_counted() -> None:
    model = make_model(_TEXT)
    ctx = PassContext()
    result = Outer().run(model, ctx)
    first, second, last = (node.attribution for node in model.nodes())
    assert first is second and first is not None and last is not None
    assert (first.by, last.by, ctx.running) == ("outer", "inner", "")
    assert first.confidence == confidence("owner") and first.evidence == ("same",)
    assert (result.changed, result.notes) == (2, {"more": 1, "by rule": {"owner": 2}})
    assert "enc" in model.modules and not ctx.counts


def test_other_evidence_is_another_object() -> None:
    model = make_model(_TEXT)
    Outer("other").run(model, PassContext())
    first, second, _ = (node.attribution for node in model.nodes())
    assert first is not second and second is not None and second.evidence == ("other",)


def test_a_rule_without_a_number_needs_a_confidence() -> None:
    node = next(make_model(_TEXT).nodes())
    with pytest.raises(ConfigError, match="no confidence for rule 'mine'; pass confidence="):
        PassContext().attribute(node, "enc", Source.SCOPE, "mine")
    assert node.attribution is None
    PassContext().attribute(node, "enc", Source.SCOPE, "mine", confidence=0.25)
    assert node.attribution is not None and node.attribution.confidence == 0.25
