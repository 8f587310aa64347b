"""Values of a run that are no plain tensors, and models that onnxruntime is particular about, in verification."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import parser

from modelexport.ir.errors import InputError
from modelexport.ir.io.reader import from_proto
from modelexport.passes.partition.extraction import extract_piece
from modelexport.passes.partition.stages import split_chain
from modelexport.passes.partition.verification import verify
from modelexport.passes.pipeline.attributed import attributed
from modelexport.passes.running.inputs import make_inputs, model_inputs
from modelexport.passes.running.outputs import same_bits
from modelexport.passes.running.session import as_ort_values

HEAD = '<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 3]>'
WEIGHT = "<float[4,4] W = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}>"
SEQUENCE = f"""{HEAD} g (float[2,4] x) => (seq(float[2,4]) s) {WEIGHT} {{
    a = MatMul (x, W) s = SequenceConstruct (a, x) }}"""
STRINGS = f"""{HEAD} g (float[2,4] x, int64[3] k) => (float[2,4] y, string[3] s) {WEIGHT} {{
    a = MatMul (x, W) s = ai.onnx.ml.LabelEncoder <keys_int64s = [0, 1], values_strings = ["u", "v"]> (k)
    y = Relu (a) }}"""
MAPS = f"""{HEAD} g (float[2,4] x) => (seq(map(int64, float)) m) {{
    a = Softmax (x) m = ai.onnx.ml.ZipMap <classlabels_int64s = [0, 1, 2, 3]> (a) }}"""
BFLOAT16 = f"""{HEAD} g (bfloat16[2,4] x) => (float16[2,4] y) {{
    a = Cast <to = 1> (x) b = Exp (a) c = Cast <to = 16> (b) y = Cast <to = 10> (c) }}"""


def whole_of(text: str, names: str = "abcdef") -> onnx.ModelProto:
    proto = parser.parse_model(text)
    for node, path in zip(proto.graph.node, names, strict=False):
        node.name = f"/{path}/{node.op_type}"
    return proto


def feeds_of(whole):
    return as_ort_values(make_inputs(whole), {info.name: info.elem_type for info in model_inputs(whole)})


@pytest.mark.parametrize(
    ("text", "compared"), [(SEQUENCE, 2), (STRINGS, 3), (MAPS, 2), (BFLOAT16, 4)], ids=["list", "text", "map", "bf16"]
)
def test_pieces_that_make_or_read_no_plain_tensors_are_compared(text, compared):
    whole = attributed(from_proto(whole_of(text)))
    pieces = [extract_piece(whole, [node.attribution.path]) for node in whole.main.nodes]
    found = verify(whole, pieces, feeds_of(whole))
    assert (found.compared, found.different, found.unverifiable) == (compared, (), "")


@pytest.mark.parametrize("text", [SEQUENCE, STRINGS, MAPS], ids=["list", "text", "map"])
def test_stages_beside_an_output_that_is_no_plain_tensor_are_compared(text):
    whole = attributed(from_proto(whole_of(text)))
    chain = split_chain(whole, ["b"])
    assert verify(whole, chain.stages, feeds_of(whole)).different == ()


def test_a_wrong_map_is_noticed():
    assert same_bits([{0: 0.5}], [{0: 0.5}]) and not same_bits([{0: 0.5}], [{0: 0.25}])
    assert not same_bits(np.zeros(2, np.float32), np.zeros(2, np.int32))


def test_nodes_of_one_name_are_no_obstacle():
    proto = whole_of(
        f"{HEAD} g (float[2,4] x) => (float[2,4] y) {WEIGHT} {{ a = MatMul (x, W) b = Relu (a) y = Neg (b) }}"
    )
    for node in proto.graph.node:
        node.name = "/a/same"
    proto.graph.initializer[0].name = proto.graph.node[0].input[1] = "a.weight"
    whole = attributed(from_proto(proto))
    assert verify(whole, [extract_piece(whole, ["."])], feeds_of(whole)).compared == 1


def test_an_input_that_onnxruntime_has_no_values_of_is_named():
    whole = from_proto(parser.parse_model(f"{HEAD} g (complex64[2] x) => (complex64[2] y) {{ y = Identity (x) }}"))
    with pytest.raises(InputError, match="input 'x': onnxruntime takes no values of complex64"):
        feeds_of(whole)
