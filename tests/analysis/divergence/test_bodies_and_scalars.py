"""Faults inside bodies, and values without dimensions, which must keep having none when they are put in."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper, parser

from modelexport.analysis import compare_values
from modelexport.ir.io.reader import from_proto

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'
NUMBERS = "{1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}"
OUTER = f"""{HEAD} g (float[2,4] x, int64 n, bool k) => (float[2,4] y) <float[4,4] W = {NUMBERS}> {{
    ["/a/Sigmoid"] a = Sigmoid (x)
    ["/steps/Loop"] b = Loop (n, k, a) <body = l (int64 i, bool c, float[2,4] v) => (bool e, float[2,4] w) {{
        ["/steps/Identity"] e = Identity (c)
        ["/steps/fc/MatMul"] t = MatMul (v, W)
        ["/steps/act/Sigmoid"] w = Sigmoid (t) }}>
    ["/head/Relu"] y = Relu (b) }}"""
INNER = OUTER.replace(f"<float[4,4] W = {NUMBERS}> {{", "{", 1).replace(
    "(bool e, float[2,4] w) {", f"(bool e, float[2,4] w) <float[4,4] W = {NUMBERS}> {{"
)
SCALARS = f"""{HEAD} g (float[4,3] x, int64[2] s) => (float[1,3] y) <int64 one = {{1}}, int64[1] zero = {{0}}> {{
    ["/a/ReduceMin"] m = ReduceMin <keepdims = 0> (s)
    ["/a/Add"] i = Add (m, one)
    ["/b/Gather"] r = Gather (x, i)
    ["/b/Relu"] t = Relu (r)
    ["/c/Unsqueeze"] y = Unsqueeze (t, zero) }}"""


def _wrong(proto):
    """The first weight anywhere with other numbers."""
    graphs = [proto.graph, *(a.g for node in proto.graph.node for a in node.attribute if a.HasField("g"))]
    tensor = next(graph.initializer[0] for graph in graphs if graph.initializer)
    tensor.CopyFrom(numpy_helper.from_array(-0.1 * numpy_helper.to_array(tensor), tensor.name))
    return proto


@pytest.mark.parametrize("text", [OUTER, INNER], ids=["captured", "own"])
def test_a_changed_weight_in_a_body_names_the_module_that_reads_it(text):
    inputs = {"x": np.ones((2, 4), np.float32), "n": np.array(2), "k": np.array(True)}
    found = compare_values(
        from_proto(parser.parse_model(text)), from_proto(_wrong(parser.parse_model(text))), inputs=inputs
    )
    assert found.first is not None
    assert (found.first.path, found.first.changed_weights, found.first.value) == ("steps.fc", ("W",), "b")
    assert found.diverging == ["steps.fc"]


def test_all_modules_in_a_body_are_suspects_of_what_it_makes():
    other = OUTER.replace("w = Sigmoid (t)", "w = Neg (t)")
    inputs = {"n": np.array(2), "k": np.array(True)}
    found = compare_values(*(from_proto(parser.parse_model(text)) for text in (OUTER, other)), inputs=inputs)
    assert found.first is not None
    assert (found.first.path, set(found.first.suspects)) == ("steps", {"steps", "steps.fc", "steps.act"})


def test_scalars_stay_scalars():
    """With a vector of one in the place of an index, the gathered row would have a dimension more."""
    model = from_proto(parser.parse_model(SCALARS))
    inputs = {"s": np.array([2, 1])}
    same = compare_values(model, from_proto(parser.parse_model(SCALARS)), inputs=inputs)
    assert (same.agree, same.compared_values, same.unmatched_values) == (True, 5, 0)
    other = compare_values(
        model, from_proto(parser.parse_model(SCALARS.replace("t = Relu (r)", "t = Neg (r)"))), inputs=inputs
    )
    assert other.diverging == ["b"]
