"""Pieces of models of float16."""

import numpy as np
from onnx import TensorProto, parser

from modelexport.ir.io.reader import from_proto
from modelexport.passes.partition.extraction import extract_piece
from modelexport.passes.partition.verification import verify
from modelexport.passes.pipeline.attributed import attributed
from modelexport.passes.running.outputs import compute, same_bits
from modelexport.passes.running.session import as_ort_values

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float16[8,64] x) => (float16[8,64] y) {
  a = Exp (x) b = Softmax (a) c = Log (b) d = Sin (c) e = Mul (d, a) y = Sqrt (e) }"""


def test_float16_that_is_computed_in_float32_is_rounded_at_every_boundary():
    """onnxruntime rounds such values only where they leave a graph, so a piece would differ in the last bits."""
    proto = parser.parse_model(TEXT)
    for node, path in zip(proto.graph.node, "abcdef", strict=True):
        node.name = f"/{path}/{node.op_type}"
    whole = attributed(from_proto(proto))
    pieces = [extract_piece(whole, [path]) for path in "abcdef"]
    feeds = as_ort_values(
        {"x": np.random.default_rng(0).random((8, 64)).astype(np.float16)}, {"x": TensorProto.FLOAT16}
    )
    found = verify(whole, pieces, feeds)
    assert (found.compared, found.different) == (6, ())
    values = {**feeds, **compute(whole, feeds, list("abcde"), "whole")}
    different = [
        value
        for piece in pieces
        for value, made in compute(
            piece.model, {name: values[name] for name in piece.cut.inputs}, piece.cut.outputs, "piece"
        ).items()
        if not same_bits(made, compute(whole, feeds, [value], "whole")[value])
    ]
    assert different  # without rounding, so it is needed


def test_lists_and_bodies_of_float16_are_left_alone():
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float16[4,8] x, bool c) => (float16[4,8] y) {
      a = Exp (x) s = SequenceConstruct (a, x) i = Constant <value_int = 0> () b = SequenceAt (s, i)
      k = If (c) <then_branch = t () => (float16[4,8] p) { p = Sin (b) },
                  else_branch = e () => (float16[4,8] q) { q = Log (b) }>
      y = Sqrt (k) }"""
    proto = parser.parse_model(text)
    for node, path in zip(proto.graph.node, "abccde", strict=True):
        node.name = f"/{path}/{node.op_type}"
    whole = attributed(from_proto(proto))
    pieces = [extract_piece(whole, [path]) for path in ("a", "d", "e")]
    x = np.random.default_rng(0).random((4, 8)).astype(np.float16)
    found = verify(whole, pieces, as_ort_values({"x": x, "c": np.array(True)}, {"x": TensorProto.FLOAT16}))
    assert (found.compared, found.different) == (3, ())
