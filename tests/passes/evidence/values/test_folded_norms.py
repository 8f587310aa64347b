"""A convolution whose value is that of the norm folded into it goes by its weight."""

from __future__ import annotations

from modelexport.ir.modules import Module, ModuleTable
from modelexport.passes.evidence.values.folded_norms import weights_decide
from modelexport.passes.evidence.values.run_votes import Answer
from modelexport.passes.testing import make_model

GRAPH = """
    agraph (float[1,1,4] X) => (float[1,1,4] Y)
    <float[1,1,1] "stem.conv.weight" = {2}, float[1,1,1] "other.weight" = {3}> {
        a = Conv (X, "stem.conv.weight")
        b = Conv (a, "other.weight")
        c = Mul (b, "stem.conv.weight")
        Y = Conv (c, "stem.conv.weight")
    }
"""
NORM = "torch.nn.modules.batchnorm.BatchNorm1d"


def test_the_weight_decides_where_a_norm_was_folded() -> None:
    modules = ModuleTable(
        [Module("stem.conv", "torch.nn.modules.conv.Conv1d"), Module("stem.norm", NORM), Module("act", "the.Act")]
    )
    model = make_model(GRAPH)
    told = ["stem.norm", "stem.norm", "stem.norm", "act"]
    best = {node: Answer(path, "twin-value", 0.99) for node, path in zip(model.main.nodes, told, strict=True)}
    found = weights_decide(best, model, modules)
    # a weight of a module that the trace doesn't have says nothing, nor does one that is no slot of a product
    assert [answer.path for answer in found.values()] == ["stem.conv", "stem.norm", "stem.norm", "act"]
    assert {(answer.rule, answer.confidence) for answer in found.values()} == {("twin-value", 0.99)}
