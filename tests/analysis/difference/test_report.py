"""What counts as a difference, and what does not, on small graphs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelexport.analysis.difference import ModelDiff, diff_models
from modelexport.analysis.difference.sources import Constant, Side
from modelexport.analysis.difference.weights import compare
from modelexport.ir import load_model
from modelexport.ir.errors import ModelExportError
from modelexport.passes.selection import Selector
from modelexport.passes.testing import make_model

TEXT = """
    <ir_version: 10, opset_import: ["" : 18]>
    g (float[N,2] X) => (float[N,2] Y) <float[2] W = {1, 2}> {
        [c] two = Constant <value = float {2.0}> ()    # scope: a
        [m] p = Mul (X, two)                          # scope: a
        [n] q = Add (p, W)                            # scope: a
        [r] Y = ReduceMax <keepdims = 1> (q)          # scope: b
    }
"""


def differ(old: str = "", new: str = "", **options: object) -> ModelDiff:
    return diff_models(make_model(TEXT), make_model(TEXT.replace(old, new)), **options)  # type: ignore[arg-type]


def test_a_constant_is_one_whether_node_or_initializer() -> None:
    other = TEXT.replace("[c] two = Constant <value = float {2.0}> ()    # scope: a", "")
    other = other.replace("<float[2] W = {1, 2}>", "<float[2] W = {1, 2}, float two = {2}>")
    assert diff_models(make_model(TEXT), make_model(other)).identical


def test_producer_and_doc_strings_are_no_differences() -> None:
    other = make_model(TEXT).proto
    other.producer_name, other.doc_string = "somebody", "text"
    other.graph.node[1].doc_string = "text"
    other.graph.node[1].metadata_props.add(key="htp.confidence", value="0.10")
    again = load_model(other.SerializeToString())
    for node, source in zip(again.nodes(), make_model(TEXT).nodes(), strict=True):
        assert source.attribution is not None
        node.attribute_to(source.attribution)
    assert diff_models(make_model(TEXT), again).identical


def test_a_constant_that_changed_is_a_weight() -> None:
    found = differ("{2.0}", "{3.0}")
    [module] = found.modules
    [weight] = module.weights
    assert (module.path, weight.node.op_type, weight.slot, weight.elements, weight.max_abs) == ("a", "Mul", 1, 1, 1.0)


@pytest.mark.parametrize(
    ("first", "second", "dtypes", "numbers"),
    [
        ("float[2] W = {1, 2}", "double[2] W = {1, 2}", ["float32", "float64"], (None, None, None)),
        ("float[2] W = {1, 2}", "float[1,2] W = {1, 2}", ["float32", "float32"], (None, None, None)),
        ("float[2] W = {0, 0}", "float[2] W = {0, 2}", ["float32", "float32"], (1, 2.0, None)),
    ],
)
def test_numbers_that_there_are_not_are_null(
    first: str, second: str, dtypes: list[str], numbers: tuple[object, ...]
) -> None:
    models = [make_model(TEXT.replace("float[2] W = {1, 2}", each)) for each in (first, second)]
    [module] = diff_models(*models).to_dict()["modules"]
    [weight] = module["weights"]
    assert weight["dtype"] == dtypes and weight["elements"] == 2
    assert tuple(weight[key] for key in ("differing", "max_abs", "rel_l2")) == numbers


def test_another_ir_version_is_said_of_the_model() -> None:
    assert [(row.what, row.a, row.b) for row in differ("ir_version: 10", "ir_version: 9").model] == [
        ("ir_version", 10, 9)
    ]


def test_another_opset_is_said_of_the_model_and_of_the_operators_it_redefines() -> None:
    found = differ('"" : 18', '"" : 20')
    assert [(row.what, row.key, row.a, row.b) for row in found.model] == [("opset", "", 18, 20)]
    [module] = found.modules
    assert [(change.a.op_type, change.version) for change in module.changed] == [("ReduceMax", (18, 20))]


def test_inputs_and_outputs_are_said_of_the_model() -> None:
    found = differ("(float[N,2] X)", "(float[4,2] X)")
    assert [(row.what, row.key, row.a, row.b) for row in found.model] == [
        ("input", "X", "float32[N,2]", "float32[4,2]")
    ]
    assert differ("(float[N,2] X)", "(float[4,2] X)", ignore=("shapes",)).identical


def test_a_shape_that_both_files_know() -> None:
    def described(size: int | str) -> onnx.ModelProto:
        proto = make_model(TEXT).proto
        proto.graph.value_info.append(helper.make_tensor_value_info("p", TensorProto.FLOAT, [size, 2]))
        return proto

    models = [load_model(described(size).SerializeToString()) for size in (1, 2, "N", "M")]
    [module] = diff_models(models[0], models[1]).modules
    assert [shape.type for shape in module.shapes] == [("float32[1,2]", "float32[2,2]")]
    assert diff_models(models[0], models[1], ignore=("shapes",)).identical
    assert diff_models(models[2], models[3]).identical  # names of dimensions are free
    assert diff_models(models[0], make_model(TEXT)).to_dict()["summary"]["nodes"]["changed"] == 0


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("seq(float[2])", "seq(double[2])", ("sequence(float32[2])", "sequence(float64[2])")),
        ("seq(float[2])", "seq(float[3])", ("sequence(float32[2])", "sequence(float32[3])")),
        ("seq(float[2])", "optional(float[2])", ("sequence(float32[2])", "optional(float32[2])")),
    ],
)
def test_types_are_compared_inside(old: str, new: str, told: tuple[str, str]) -> None:
    text = f"g ({old} X) => ({old} Y) <{old} v> {{\n v = Identity (X)\n Y = Identity (v)\n}}"
    found = diff_models(make_model(text), make_model(text.replace(old, new)))
    assert [(row.what, row.a, row.b) for row in found.model] == [("input", *told), ("output", *told)]
    assert [shape.type for module in found.modules for shape in module.shapes] == [told]
    hidden = diff_models(make_model(text), make_model(text.replace(old, new)), ignore=("shapes",))
    assert hidden.identical is (old.replace("2", "3") == new)


def test_a_class_counts_where_both_know_it() -> None:
    one = "# module: a  my.Old\n# module: b  my.B" + TEXT
    other = "# module: a  my.New\n# module: b  my.B" + TEXT
    [module] = diff_models(make_model(one), make_model(other)).modules
    assert (module.path, module.classes) == ("a", ("Old", "New"))
    assert diff_models(make_model(one), make_model(TEXT)).identical


def test_modules_that_came_and_went() -> None:
    found = differ("# scope: b", "# scope: c.inner")
    assert {module.path: module.status for module in found.modules} == {
        "b": "removed",
        "c": "added",
        "c.inner": "added",
    }
    assert differ("# scope: b", "# scope: z", rename={"b": "z"}).identical


def test_a_selection_bounds_what_is_told() -> None:
    both = TEXT.replace("{2.0}", "{3.0}").replace("keepdims = 1", "keepdims = 0")
    found = diff_models(make_model(TEXT), make_model(both), select=Selector.parse("path:b"))
    assert [module.path for module in found.modules] == ["b"]
    assert not differ('"" : 18', '"" : 20', select=Selector.parse("path:a")).model  # nor what is said of the model
    with pytest.raises(ModelExportError, match="--select"):
        differ(select=Selector.parse("path:nowhere"))


def test_bodies_are_compared_inside() -> None:
    text = """
        g (float[2] X, bool C) => (float[2] Y) {
            [if] Y = If (C) <    # scope: a
                then_branch = t () => (float[2] u) {
                    u = Elu <alpha = 1.0> (X)    # scope: a.inner
                },
                else_branch = e () => (float[2] v) {
                    v = Exp (X)     # scope: a
                }
            >
        }
    """
    other = text.replace("alpha = 1.0", "alpha = 2.0").replace("u = Elu", "w = Elu").replace("float[2] u", "float[2] w")
    [module] = diff_models(make_model(text), make_model(other)).modules
    assert module.path == "a.inner" and module.changed[0].attributes == {"alpha": (1.0, 2.0)}


@pytest.mark.parametrize(
    ("x", "y", "atol", "differing"),
    [
        ([1.0, np.nan], [1.0, np.nan], 0.0, None),
        ([1.0, np.nan], [1.0, 2.0], 10.0, 1),
        ([np.inf, 1.0], [np.inf, 1.5], 0.0, 1),
        ([np.inf, 1.0], [-np.inf, 1.0], 10.0, 1),
        ([0.0, -0.0], [-0.0, 0.0], 0.0, None),
    ],
)
def test_elements(x: list[float], y: list[float], atol: float, differing: int | None) -> None:
    side = Side(make_model(TEXT))
    constants = [Constant("w", numpy_helper.from_array(np.array(values, np.float32))) for values in (x, y)]
    found = compare(side, constants[0], side, constants[1], atol)
    assert (found.differing if found is not None else None) == differing
