"""Multiply-accumulates of single operators, against numbers worked out by hand."""

import onnx
import pytest
from onnx import TensorProto, helper

from modelexport.analysis import cost
from modelexport.analysis.costing.call import Uncountable
from modelexport.analysis.costing.operators import formula
from modelexport.ir.io.reader import from_proto
from modelexport.ir.operators import definition

ONE = {"": 23}


def report(op_type, inputs, outputs, domain="", opset=17, **attributes):
    """The cost of one node with float inputs and outputs of these shapes; None is an absent slot."""
    names = [f"x{i}" if shape is not None else "" for i, shape in enumerate(inputs)]
    made = [f"y{i}" if shape is not None else "" for i, shape in enumerate(outputs)]
    node = helper.make_node(op_type, names, made, domain=domain, name="node", **attributes)
    given = [(n, s) for n, s in zip(names, inputs, strict=True) if s is not None]
    results = [(n, s) for n, s in zip(made, outputs, strict=True) if s is not None]
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in given],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in results],
    )
    imports = [helper.make_opsetid("", opset)]
    if domain:
        imports.append(helper.make_opsetid(domain, 1))
    return cost(from_proto(helper.make_model(graph, opset_imports=imports, ir_version=8)), run=False)


STANDARD = [
    ("MatMul", [(2, 3, 4), (4, 5)], [(2, 3, 5)], {}, 2 * 3 * 4 * 5),
    ("MatMul", [(7, 1, 3, 4), (2, 4, 5)], [(7, 2, 3, 5)], {}, 7 * 2 * 3 * 4 * 5),
    ("MatMul", [(4,), (4, 5)], [(5,)], {}, 20),
    ("MatMul", [(3, 4), (4,)], [(3,)], {}, 12),
    ("MatMul", [(4,), (4,)], [()], {}, 4),
    ("MatMul", [(2, 0, 4), (4, 5)], [(2, 0, 5)], {}, 0),
    ("Gemm", [(4, 3), (5, 4), (5,)], [(3, 5)], {"transA": 1, "transB": 1}, 60),
    ("Gemm", [(3, 4), (4, 5)], [(3, 5)], {}, 60),
    ("Conv", [(2, 6, 9, 9), (4, 3, 3, 3)], [(2, 4, 7, 7)], {"group": 2}, 2 * 4 * 49 * 3 * 9),
    ("Conv", [(1, 6, 9), (6, 1, 3)], [(1, 6, 5)], {"group": 6, "dilations": [2]}, 6 * 5 * 3),
    ("Conv", [(1, 2, 5, 5, 5), (3, 2, 3, 3, 3)], [(1, 3, 3, 3, 3)], {}, 3 * 27 * 2 * 27),
    ("ConvTranspose", [(2, 4, 5, 5), (4, 3, 2, 2)], [(2, 6, 10, 10)], {"group": 2, "strides": [2, 2]}, 200 * 12),
    ("Einsum", [(2, 3, 4), (2, 4, 5)], [(2, 3, 5)], {"equation": "bij,bjk->bik"}, 120),
    ("Einsum", [(2, 3, 4), (4, 5)], [(2, 3, 5)], {"equation": "...j,jk->...k"}, 120),
    ("Einsum", [(3,), (5,)], [(3, 5)], {"equation": "i,j->ij"}, 0),
    ("Einsum", [(3, 4), (3, 4)], [(3, 4)], {"equation": "ij,ij->ij"}, 0),
    ("Einsum", [(3, 4), (4, 5)], [(3, 5)], {"equation": "ab, bc"}, 60),
    ("Einsum", [(3, 4), (4, 5), (5, 6)], [(3, 6)], {"equation": "ab,bc,cd->ad"}, 3 * 4 * 5 * 6),
    ("Einsum", [(3, 4)], [(4, 3)], {"equation": "ij->ji"}, 0),
    ("LSTM", [(7, 2, 5), (2, 12, 5), (2, 12, 3)], [(7, 2, 2, 3)], {"hidden_size": 3, "direction": "bidirectional"},
     14 * (120 + 72)),
    ("GRU", [(7, 2, 5), (1, 9, 5), (1, 9, 3)], [(7, 1, 2, 3)], {"hidden_size": 3}, 14 * (45 + 27)),
    ("RNN", [(7, 2, 5), (1, 3, 5), (1, 3, 3)], [(7, 1, 2, 3)], {"hidden_size": 3}, 14 * (15 + 9)),
    ("MatMulInteger", [(3, 4), (4, 5)], [(3, 5)], {}, 60),
    ("QLinearMatMul", [(3, 4), (), (), (4, 5), (), (), (), ()], [(3, 5)], {}, 60),
    ("ConvInteger", [(1, 2, 5), (3, 2, 3)], [(1, 3, 3)], {}, 54),
    ("QLinearConv", [(1, 2, 5), (), (), (3, 2, 3), (), (), (), ()], [(1, 3, 3)], {}, 54),
    ("Relu", [(3, 4)], [(3, 4)], {}, 0),
    ("LayerNormalization", [(3, 4), (4,)], [(3, 4)], {}, 0),
]  # fmt: skip


@pytest.mark.parametrize(("op_type", "inputs", "outputs", "attributes", "macs"), STANDARD)
def test_standard_operators(op_type, inputs, outputs, attributes, macs):
    found = report(op_type, inputs, outputs, **attributes)
    assert found.unknown == ()
    assert (found.total["macs"], found.total["flops"]) == (macs, 2 * macs)


# (query, key, value) of 2 sequences of 5, with 4 heads of 8: 2 * 4 * 5 * length * (8 + 8)
CONTRIB = [
    ("FusedMatMul", [(2, 4, 3), (2, 5, 4)], [(2, 3, 5)], {"transA": 1, "transB": 1}, 120),
    ("FusedMatMul", [(3, 2, 4), (2, 4, 5)], [(2, 3, 5)], {"transBatchA": 1}, 120),
    ("FusedGemm", [(3, 4), (5, 4), (5,)], [(3, 5)], {"transB": 1, "activation": "Relu"}, 60),
    ("FusedConv", [(1, 2, 5), (3, 2, 3)], [(1, 3, 3)], {"activation": "Relu"}, 54),
    ("NhwcFusedConv", [(1, 5, 5, 2), (3, 3, 3, 2)], [(1, 3, 3, 3)], {}, 27 * 18),
    ("QGemm", [(3, 4), (), (), (5, 4), (), ()], [(3, 5)], {"transB": 1}, 60),
    ("MatMulNBits", [(2, 3, 32), (5, 1, 16), (5,)], [(2, 3, 5)], {"K": 32, "N": 5, "bits": 4}, 6 * 32 * 5),
    ("MatMulIntegerToFloat", [(3, 4), (4, 5), (), ()], [(3, 5)], {}, 60),
    ("DynamicQuantizeMatMul", [(3, 4), (4, 5), ()], [(3, 5)], {}, 60),
    ("DynamicQuantizeLSTM", [(7, 2, 5), (1, 5, 12), (1, 3, 12)], [(7, 1, 2, 3)], {"hidden_size": 3}, 14 * 96),
    ("Attention", [(2, 5, 16), (16, 96), (96,)], [(2, 5, 32)], {"num_heads": 4}, 2 * 5 * 16 * 96 + 2 * 25 * 64),
    ("Attention", [(2, 5, 16), (16, 80), (80,)], [(2, 5, 16)], {"num_heads": 4, "qkv_hidden_sizes": [32, 32, 16]},
     2 * 5 * 16 * 80 + 2 * 25 * 48),
    ("Attention", [(2, 1, 16), (16, 96), (96,), None, (2, 2, 4, 6, 8)], [(2, 1, 32), (2, 2, 4, 7, 8)], {"num_heads": 4},
     2 * 16 * 96 + 2 * 7 * 64),
    ("QAttention", [(2, 5, 16), (16, 96), (96,), (), ()], [(2, 5, 32)], {"num_heads": 4}, 15360 + 3200),
    ("MultiHeadAttention", [(2, 5, 32), (2, 7, 32), (2, 7, 32)], [(2, 5, 32)], {"num_heads": 4}, 2 * 35 * 64),
    ("MultiHeadAttention", [(2, 5, 4, 3, 8)], [(2, 5, 32)], {"num_heads": 4}, 2 * 25 * 64),
    ("MultiHeadAttention", [(2, 5, 32), (2, 7, 4, 2, 8)], [(2, 5, 32)], {"num_heads": 4}, 2 * 35 * 64),
    ("MultiHeadAttention", [(2, 5, 32), (2, 4, 7, 8), (2, 4, 7, 8)], [(2, 5, 32)], {"num_heads": 4}, 2 * 35 * 64),
    ("MultiHeadAttention",
     [(2, 1, 32), (2, 1, 32), (2, 1, 32), None, None, None, (2, 4, 6, 8), (2, 4, 6, 8)],
     [(2, 1, 32), (2, 4, 7, 8), (2, 4, 7, 8)], {"num_heads": 4}, 2 * 7 * 64),
    ("GroupQueryAttention",
     [(2, 5, 32), (2, 5, 16), (2, 5, 16), (2, 2, 3, 8), (2, 2, 3, 8), (2,), ()],
     [(2, 5, 32), (2, 2, 8, 8), (2, 2, 8, 8)], {"num_heads": 4, "kv_num_heads": 2}, 2 * 5 * 8 * 64),
    ("GroupQueryAttention",
     [(2, 5, 64), None, None, (2, 2, 0, 8), (2, 2, 0, 8), (2,), ()],
     [(2, 5, 32), (2, 2, 5, 8), (2, 2, 5, 8)], {"num_heads": 4, "kv_num_heads": 2}, 2 * 25 * 64),
    ("DecoderMaskedMultiHeadAttention",
     [(2, 1, 32), (2, 1, 32), (2, 1, 32), None, None, (2, 4, 6, 8), (2, 4, 6, 8)],
     [(2, 1, 32), (2, 4, 7, 8), (2, 4, 7, 8)], {"num_heads": 4}, 2 * 7 * 64),
    ("MoE", [(10, 8), (10, 4), (4, 16, 8), None, (4, 8, 16)], [(10, 8)], {"k": 2}, 10 * 2 * 256),
    ("QMoE", [(10, 8), (10, 4), (4, 16, 4), (4, 16), None, (4, 8, 8), (4, 8)], [(10, 8)],
     {"k": 2, "expert_weight_bits": 4}, 10 * 2 * 256),
    ("BiasGelu", [(3, 4), (4,)], [(3, 4)], {}, 0),
]  # fmt: skip


@pytest.mark.parametrize(("op_type", "inputs", "outputs", "attributes", "macs"), CONTRIB)
def test_operators_of_onnxruntime(op_type, inputs, outputs, attributes, macs):
    found = report(op_type, inputs, outputs, "com.microsoft", **attributes)
    assert found.unknown == ()
    assert found.total["macs"] == macs


def test_attention_of_opset_23():
    four = report("Attention", [(2, 4, 5, 8), (2, 2, 7, 8), (2, 2, 7, 6)], [(2, 4, 5, 6)], opset=23)
    assert four.total["macs"] == 2 * 4 * 5 * 7 * (8 + 6)
    heads = {"q_num_heads": 4, "kv_num_heads": 2}
    three = report("Attention", [(2, 5, 32), (2, 7, 16), (2, 7, 12)], [(2, 5, 24)], opset=23, **heads)
    assert three.total["macs"] == 2 * 4 * 5 * 7 * (8 + 6)
    cached = [(2, 4, 1, 8), (2, 2, 1, 8), (2, 2, 1, 8), None, (2, 2, 6, 8), (2, 2, 6, 8)]
    past = report("Attention", cached, [(2, 4, 1, 8), (2, 2, 7, 8), (2, 2, 7, 8)], opset=23)
    assert past.total["macs"] == 2 * 4 * 7 * 16


@pytest.mark.parametrize(
    ("op_type", "domain", "inputs", "reason"),
    [
        ("Foo", "of.mine", [(2, 3)], "no formula for of.mine.Foo"),
        ("NotAnOperator", "", [(2, 3)], "no formula for NotAnOperator"),
        ("LongformerAttention", "com.microsoft", [(2, 3)], "no formula for com.microsoft.LongformerAttention"),
        ("MatMul", "", [(2, 3), (4, 5)], "don't fit"),
        ("MatMul", "", [(2, 3), ("n", 5)], None),
        ("Attention", "com.microsoft", [(2, 5), (5, 15)], "not of three dimensions"),
        ("MatMulNBits", "com.microsoft", [(2, 3), (2,)], "attribute K is missing"),
    ],
)
def test_what_is_not_known_is_listed_and_never_0(op_type, domain, inputs, reason):
    found = report(op_type, inputs, [(2, 5)], domain)
    if reason is None:
        assert found.inputs["x1"] == (1, 5)
        reason = "don't fit"
    (unknown,) = found.unknown
    assert (unknown.node, unknown.op_type, unknown.path) == ("node", op_type, "")
    assert reason in unknown.reason
    assert found.modules[0].partial
    assert found.nodes[0].macs is None
    assert found.to_dict()["modules"][0]["at_least"] is True


def test_unknown_shapes_are_unknown_work():
    proto = onnx.parser.parse_model("""
    <ir_version: 8, opset_import: ["" : 17, "of.mine" : 1]>
    g (float[2,3] x, float[3,4] w) => (float[m,n] y) { [odd] h = of.mine.Odd(x) [product] y = MatMul(h, w) }
    """)
    found = cost(from_proto(proto), run=False)
    reasons = {each.node: each.reason for each in found.unknown}
    assert reasons == {"odd": "no formula for of.mine.Odd", "product": "shape of input 0 is not known"}


def test_an_operator_whose_name_is_no_text_is_unknown() -> None:
    assert definition("Relu\udcff") is None and definition("Relu", "\udcff") is None and definition("Relu") is not None
    with pytest.raises(Uncountable, match="no formula"):
        formula("Relu\udcff", "")
