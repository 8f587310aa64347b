"""What passes derive from names and structure is computed once, until these change."""

from __future__ import annotations

from modelexport.ir import Model
from modelexport.passes.evidence.names.parameters import ParameterIndex
from modelexport.passes.testing import make_model

_NET = """
net (float[2,2] X) => (float[2,2] Y) <float[2,2] "fc.weight" = {1, 2, 3, 4}> {
    [first] a = MatMul (X, "fc.weight")
    [second] Y = Relu (a)
}
"""


def _names(model: Model) -> list[str]:
    return [node.name for node in model.nodes()]


def test_it_is_computed_once() -> None:
    model = make_model(_NET)
    assert model.derived(_names) is model.derived(_names)
    assert ParameterIndex.of(model) is ParameterIndex.of(model)
    assert ParameterIndex.of(model).owner == {"fc.weight": "fc"}


def test_another_name_makes_it_anew() -> None:
    model = make_model(_NET)
    before = model.derived(_names)
    next(model.nodes()).rename("other")
    assert (before, model.derived(_names)) == (["first", "second"], ["other", "second"])


def test_an_edit_makes_it_anew() -> None:
    model = make_model(_NET)
    index = ParameterIndex.of(model)
    model.revision += 1
    assert ParameterIndex.of(model) is not index
