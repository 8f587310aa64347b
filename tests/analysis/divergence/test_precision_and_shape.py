"""A cast down and up in a model of float32, and a value of another shape, are faults."""

import numpy as np
import onnx
import pytest
from onnx import parser

from modelexport.analysis import compare_values
from modelexport.analysis.divergence.graphs import known_sizes
from modelexport.ir.errors import InputError
from modelexport.ir.io.reader import from_proto
from modelexport.passes.running.session import as_ort_value
from modelexport.passes.running.stepping import SteppedRun

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


def test_a_candidate_that_can_not_run_to_its_end_is_no_agreement():
    reference = "h = Tanh(x) k = Neg(h) y = Exp(k)"
    with pytest.raises(InputError, match="can't be run to its end: Exp"):
        compare_values(model(reference, "float[4,8]"), model("h = Tanh(x) k = Neg(h) y = Exp(k, h)", "float[4,8]"))
    wrong = compare_values(
        model("h = ReduceMean<axes=[0], keepdims=1>(x) k = Mul(h, x) y = Exp(k)", "float[4,8]"),
        model("h = ReduceMean<axes=[1], keepdims=0>(x) k = Mul(h, x) y = Exp(k)", "float[4,8]"),
    )
    assert wrong.first.value == "h"


def test_strings_are_fed_and_not_compared():
    head = '<ir_version: 8, opset_import: ["" : 17]>'
    text = f"{head} g (string[2] s, float[4,8] x) => (string[2] t, float[4,8] y) {{ t = Identity(s) y = Tanh(x) }}"
    source = from_proto(parser.parse_model(text))
    found = compare_values(source, source)
    assert (found.agree, found.compared_values, found.unmatched_values) == (True, 1, 1)


def test_each_of_two_faults_is_blamed_on_the_module_whose_weight_changed():
    """After a fusion the values of both are made by the modules behind them."""
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[2,2] x) => (float[2,2] y) <float[2,2] a.weight = {1,2,3,4}, float[2,2] b.weight = {1,2,3,4}> {
      p = MatMul(x, a.weight) q = Relu(p) r = MatMul(q, b.weight) y = Relu(r) }"""
    text = text.replace("a.weight", "aw").replace("b.weight", "bw")
    reference, candidate = (parser.parse_model(text) for _ in range(2))
    for proto in (reference, candidate):
        for node, name in zip(proto.graph.node, ("a/MatMul", "a/act/Relu", "b/MatMul", "b/act/Relu"), strict=True):
            node.name = f"/{name}"
        for tensor in proto.graph.initializer:
            tensor.name = {"aw": "a.weight", "bw": "b.weight"}[tensor.name]
        for node in proto.graph.node:
            node.input[:] = [{"aw": "a.weight", "bw": "b.weight"}.get(name, name) for name in node.input]
    for tensor, renamed, node in zip(candidate.graph.initializer, "pr", candidate.graph.node[::2], strict=True):
        tensor.float_data[0] = 7.0
        node.output[0] = f"{renamed}2"  # the value of a product is gone, as it is where it is fused
        candidate.graph.node[2 * "pr".index(renamed) + 1].input[0] = f"{renamed}2"
    found = compare_values(from_proto(reference), from_proto(candidate))
    assert sorted(found.diverging) == ["a", "b"]
    assert found.first.path == "a"


@pytest.mark.parametrize("turned", [False, True])
def test_a_changed_weight_is_found_by_what_the_others_hold_where_names_are_gone(turned):
    """onnxruntime pads and renames weights of blocked convolutions, onnxslim turns and renames those of products."""

    def proto(first, second, names, middle, turned=False):
        graph = onnx.helper.make_graph(
            [
                onnx.helper.make_node("Gemm", ["x", names[0]], [middle], name="/a/Gemm", transB=int(turned)),
                onnx.helper.make_node("Gemm", [middle, names[1]], ["y"], name="/b/Gemm", transB=int(turned)),
            ],
            "g",
            [onnx.helper.make_tensor_value_info("x", 1, [4, 8])],
            [onnx.helper.make_tensor_value_info("y", 1, [4, 8])],
            [onnx.numpy_helper.from_array(w, n) for w, n in zip((first, second), names, strict=True)],
        )
        return from_proto(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8))

    draws = np.random.default_rng(0)
    a, b = (draws.standard_normal((8, 8)).astype(np.float32) for _ in range(2))
    reference = proto(a, b, ("a.weight", "b.weight"), "h")
    changed = a + 1
    pair = (changed.T.copy(), b.T.copy()) if turned else (changed, b)
    found = compare_values(reference, proto(*pair, ("token_1", "token_2"), "k", turned))
    assert (found.first.value, found.first.path) == ("y", "a")
    assert found.first.changed_weights == ("a.weight",)
    assert set(found.first.suspects) == {"a", "b"}


@pytest.mark.parametrize("operator", ["Tanh", "com.microsoft.Gelu"])
def test_a_chunk_holds_no_more_than_it_may_where_the_file_states_no_sizes(operator):
    """Values of 4 MB in a file that says nothing of their sizes, and with an operator that inference does not know."""
    domain, _, op_type = operator.rpartition(".")
    nodes = [
        onnx.helper.make_node(op_type, [f"v{n}"], [f"v{n + 1}"], name=f"/m{n}/{op_type}", domain=domain)
        for n in range(40)
    ]
    x = onnx.helper.make_tensor_value_info("v0", 1, ["batch", 1 << 19])
    y = onnx.helper.make_tensor_value_info("v40", 1, None)
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
    graph = onnx.helper.make_graph(nodes, "g", [x], [y])
    whole = from_proto(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8))
    feeds = {"v0": as_ort_value(np.ones((2, 1 << 19), np.float32))}
    run = SteppedRun(whole, feeds, chunk_bytes=16 << 20, sizes=known_sizes(whole, feeds))
    lengths = []
    while not run.done:
        chunk = run.next_chunk()
        lengths.append(len(chunk))
        run.step(chunk)
    assert max(lengths) <= 4
    assert sum(lengths) == 40


def test_an_element_type_that_there_is_not_is_an_input_error():
    damaged = model("y = Tanh(x)", "float[4,8]").proto
    damaged.graph.input[0].type.tensor_type.elem_type = 99
    with pytest.raises(InputError, match="'x' has an element type that ONNX does not have"):
        compare_values(model("y = Tanh(x)", "float[4,8]"), from_proto(damaged))
    with pytest.raises(InputError, match="no known type"):
        compare_values(from_proto(damaged), from_proto(damaged), inputs={"x": np.ones((4, 8), np.float32)})
