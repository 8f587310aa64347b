"""Files whose inputs were made free, or given another batch, while the sizes of inner values stayed."""

from __future__ import annotations

import pytest
from onnx import parser

from modelexport.analysis import cost
from modelexport.ir.io.reader import from_proto

WEIGHT = "float[4,4] {0} = {{1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}}"
TEXT = f"""<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
g (float[N,4] x) => (float[1,4] y) <{WEIGHT.format("W")}, {WEIGHT.format("V")}, float[1,4] a, float[1,4] b> {{
    a = MatMul (x, W) b = OPERATOR (a) y = MatMul (b, V) }}"""


@pytest.mark.parametrize(
    ("operator", "run", "source"),
    [("Relu", False, "inferred"), ("Relu", True, "inferred"), ("com.microsoft.Gelu", True, "run")],
)
def test_the_given_sizes_win_over_stated_ones_of_another_batch(operator, run, source):
    model = from_proto(parser.parse_model(TEXT.replace("OPERATOR", operator)))
    report = cost(model, shapes={"x": (8, 4)}, run=run)
    assert (report.total["macs"], report.total["activation_bytes"], report.shapes) == (2 * 8 * 16, 3 * 8 * 16, source)
    assert not report.unknown


def test_stated_sizes_are_taken_where_nothing_else_is_known():
    model = from_proto(parser.parse_model(TEXT.replace("OPERATOR", "com.microsoft.Gelu")))
    report = cost(model, run=False)
    assert (report.total["macs"], report.unknown) == (2 * 16, ())


def test_inner_values_of_another_size_than_the_run_had():
    """Inference keeps a size that is stated of a static input's followers; a run that is needed anyway corrects it."""
    text = TEXT.replace("float[N,4] x", "float[8,4] x").replace("OPERATOR", "com.microsoft.Gelu")
    proto = parser.parse_model(text)
    del proto.graph.value_info[1:]  # of b nothing is stated, so a run is needed
    assert cost(from_proto(proto)).total["macs"] == 2 * 8 * 16
