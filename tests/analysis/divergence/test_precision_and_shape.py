"""A cast down and up in a model of float32, and a value of another shape, are faults."""

import pytest
from onnx import parser

from modelexport.analysis import compare_values
from modelexport.ir.io.reader import from_proto

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'


def model(body, out="float[4,4]"):
    return from_proto(parser.parse_model(f"{HEAD} g (float[4,8] x) => ({out} y) {{ {body} }}"))


REFERENCE = "t = Transpose(x) h = Tanh(x) k = MatMul(h, t) y = Neg(k)"


@pytest.mark.parametrize("kind", [10, 16])
def test_a_value_that_is_cast_down_and_up_is_wrong(kind):
    body = f"t = Transpose(x) r = Tanh(x) l = Cast<to={kind}>(r) h = Cast<to=1>(l) k = MatMul(h, t) y = Neg(k)"
    found = compare_values(model(REFERENCE), model(body))
    assert found.first is not None
    assert found.first.value == "h"
    assert 1e-4 < found.first.introduced < 1e-2


def test_a_model_that_computes_in_float16_is_judged_by_it():
    body = (
        "t = Transpose(x) r = Tanh(x) l = Cast<to=10>(r) u = Cast<to=10>(t) p = MatMul(l, u) k = Cast<to=1>(p) "
        "h = Cast<to=1>(l) y = Neg(k)"
    )
    found = compare_values(model(REFERENCE), model(body))
    assert found.agree
    assert found.largest_agreeing > 1e-4


def test_an_output_of_another_shape_is_wrong_where_the_shape_first_is():
    reference = "h = ReduceMean<axes=[1], keepdims=1>(x) k = Neg(h) y = Exp(k)"
    candidate = "h = ReduceMean<axes=[1], keepdims=0>(x) k = Neg(h) y = Exp(k)"
    found = compare_values(model(reference, "float[4,1]"), model(candidate, "float[4]"))
    assert not found.agree
    assert found.first.value == "h"
    document = found.to_dict()
    assert document["first"]["introduced"] is None
    assert document["outputs"] == [{"name": "y", "error": None, "max_abs": None}]


def test_an_inner_value_of_another_shape_is_another_value():
    reference = "a = Constant<value_ints=[0]>() h = Unsqueeze(x, a) y = Squeeze(h, a)"
    candidate = "b = Constant<value_ints=[1]>() h = Unsqueeze(x, b) y = Squeeze(h, b)"
    found = compare_values(model(reference, "float[4,8]"), model(candidate, "float[4,8]"))
    assert found.agree
    assert found.unmatched_values == 2
