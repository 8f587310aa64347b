"""What scopes give out without a node of their own, and what functions are: nothing that changes a result is missed."""

from __future__ import annotations

import pytest
from onnx import parser

from modelexport.analysis.difference import ModelDiff, diff_models
from modelexport.ir import load_model
from modelexport.ir.errors import ModelExportError

BRANCHES = """<ir_version: 9, opset_import: ["":17]>
g (float[2] X, float[2] Z, bool C) => (float[2] Y) {
    u = Exp (X)
    v = Sin (Z)
    [if] a, b, c = If (C) <
        then_branch = t () => (float[2] p, float[2] u, float[2] q) {
            p = Constant <value = float[2] {1, 2}> ()
            q = Neg (X)
        },
        else_branch = e () => (float[2] r, float[2] u, float[2] s) {
            r = Neg (v)
            s = Constant <value = float[2] {1, 2}> ()
        }>
    Y = Sum (a, b, c)
}"""
FUNCTION = """<ir_version: 9, opset_import: ["":17, "my":1]>
g (float[2] X) => (float[2] Y, float[2] W) <float[2] W = {1, 2}> {
    a, b = my.F (X)
    Y = Sub (a, b)
}
<domain: "my", opset_import: ["":17]>
F <alpha: float = 1.0> (x) => (u, v) {
    u = Elu <alpha: float = @alpha> (x)
    v = Constant <value = float[2] {3, 4}> ()
}"""


def differ(text: str, *edits: tuple[str, str], **options: object) -> ModelDiff:
    other = text
    for old, new in edits:
        assert old in other
        other = other.replace(old, new)
    models = [load_model(parser.parse_model(each).SerializeToString()) for each in (text, other)]
    return diff_models(*models, **options)  # type: ignore[arg-type]


def test_a_constant_that_a_body_gives_out_is_a_weight_of_the_node_that_owns_it() -> None:
    edit = ("p = Constant <value = float[2] {1, 2}>", "p = Constant <value = float[2] {1, 5}>")
    [module] = differ(BRANCHES, edit).modules
    [weight] = module.weights
    assert (weight.node.name, weight.slot, weight.a, weight.differing, weight.max_abs) == ("if", 0, "p", 1, 3.0)
    assert not module.changed and not module.added
    assert differ(BRANCHES, edit, ignore=("weights",)).identical
    assert differ(BRANCHES, edit, atol=3).identical
    assert differ(BRANCHES, edit, select="op:Exp").identical
    assert differ(BRANCHES).weight_counts == {"changed": 0, "same": 2}


def test_a_body_that_gives_out_another_value_from_around() -> None:
    edit = ("t () => (float[2] p, float[2] u,", "t () => (float[2] p, float[2] v,")
    [module] = differ(BRANCHES, edit).modules
    [change] = module.changed
    sources = ("result 1 is output 0 of Exp u", "result 1 is output 0 of Sin v")
    assert (change.a.name, change.attributes, change.inputs) == ("if", {"then_branch": sources}, ())
    assert differ(BRANCHES, edit, ignore=("connections",)).identical


@pytest.mark.parametrize(
    ("old", "new", "what", "key", "told"),
    [
        ("<float[2] W = {1, 2}>", "<float[2] W = {1, 3}>", "output", "W", "1 of 2 elements differ"),
        ("{3, 4}", "{0, 0}", "function", "my::F", "result 1 is a constant float32[2], 2 of 2 elements differ"),
        ("alpha: float = 1.0", "alpha: float = 2.0", "function", "my::F", "attribute alpha = 2.0"),
        ('"my", opset_import: ["":17]', '"my", opset_import: ["":18]', "function", "my::F", "opset 18"),
    ],
)
def test_results_of_the_model_and_functions(old: str, new: str, what: str, key: str, told: str) -> None:
    found = differ(FUNCTION, (old, new))
    assert not found.modules
    [row] = found.model
    assert (row.what, row.key) == (what, key) and row.a != row.b and told in row.b


def test_arguments_that_mean_nothing_are_refused() -> None:
    for options, message in (
        ({"ignore": ("names",)}, "'names' is none of attributes, weights, shapes, connections"),
        ({"atol": -1.0}, "a tolerance is a number from 0, not -1"),
        ({"rtol": float("nan")}, "a tolerance"),
        ({"select": "clas:X"}, "unknown key 'clas'"),
    ):
        with pytest.raises(ModelExportError, match=message):
            differ(BRANCHES, **options)  # type: ignore[arg-type]
