"""parameter-attribution: parameters say whose node it is, by name or by value."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from modelexport.ir.attribution import Attribution, Source
from modelexport.ir.errors import InputError
from modelexport.ir.io.reader import from_proto
from modelexport.ir.io.trace_file import Parameter, Trace, save_trace
from modelexport.ir.modules import Module
from modelexport.passes.evidence.values.fingerprints import fingerprint, row_samples
from modelexport.passes.evidence.values.weights_match import WeightIndex
from modelexport.passes.parameter_attribution import ParameterAttribution
from modelexport.passes.pipeline.base import PassContext

RNG = np.random.default_rng(0)
WEIGHTS = {
    "enc.q.weight": RNG.normal(size=(6, 6)),
    "enc.k.weight": RNG.normal(size=(6, 6)),
    "enc.v.weight": RNG.normal(size=(6, 6)),
    "enc.fc.weight": RNG.normal(size=(8, 6)),
    "enc.fc.bias": RNG.normal(size=8),
    "conv.weight": RNG.normal(size=(4, 3, 3, 3)),
    "twin_a.weight": (same := RNG.normal(size=(5, 7))),
    "twin_b.weight": same,
}
WEIGHTS = {name: array.astype(np.float32) for name, array in WEIGHTS.items()}
EIGHT_BIT = np.round(WEIGHTS["enc.q.weight"] / abs(WEIGHTS["enc.q.weight"]).max() * 127).astype(np.int8)


@pytest.fixture(scope="module")
def trace():
    paths = ["", *dict.fromkeys(part for name in WEIGHTS for part in ("enc", name.rpartition(".")[0]))]
    modules = tuple(Module(path, "torch.nn.Module") for path in dict.fromkeys(paths))
    index = {module.path: i for i, module in enumerate(modules)}
    rows = [Parameter(name, index[name.rpartition(".")[0]], array.shape) for name, array in WEIGHTS.items()]
    prints = [fingerprint(array) for array in WEIGHTS.values()]
    return Trace(
        modules,
        tuple(rows),
        np.array([p[0] for p in prints]),
        np.array([p[1] for p in prints]),
        np.array([row_samples(array) for array in WEIGHTS.values()]),
    )


@pytest.fixture
def file(trace, tmp_path):
    return save_trace(trace, tmp_path / "m.htptrace")


def graph_of(nodes, **initializers):
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in initializers.items()]
    values = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in ("x", "y")]
    return from_proto(helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:], tensors), ir_version=8))


def run(model, trace=None, **options):
    result = ParameterAttribution(**options).run(model, PassContext(trace=trace))
    found = {node.first_output: node.attribution for node in model.nodes()}
    return result, {name: (a.path, a.rule) if a else None for name, a in found.items()}


def product(weight):
    return [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weight}


def test_names_alone():
    nodes = [
        helper.make_node("MatMul", ["x", "onnx::MatMul_7"], ["h"]),
        helper.make_node("Add", ["enc.fc.bias", "h"], ["y"]),
    ]
    model = graph_of(nodes, **{"onnx::MatMul_7": WEIGHTS["enc.fc.weight"].T, "enc.fc.bias": WEIGHTS["enc.fc.bias"]})
    result, found = run(model)
    assert found == {"h": ("enc.fc", "bias-of-product"), "y": ("enc.fc", "parameter-name")}
    assert result.changed == 2 and result.notes["by rule"] == {"parameter-name": 1, "bias-of-product": 1}
    assert {node.attribution.source for node in model.nodes()} == {Source.PARAMETER} and "enc.fc" in model.modules


def test_the_bias_of_a_product_with_a_known_weight():
    nodes = [helper.make_node("MatMul", ["x", "enc.fc.weight"], ["h"]), helper.make_node("Add", ["h", "b"], ["y"])]
    model = graph_of(nodes, **{"enc.fc.weight": WEIGHTS["enc.fc.weight"].T, "b": WEIGHTS["enc.fc.bias"]})
    assert run(model)[1]["y"] == ("enc.fc", "bias-of-product")


def test_a_sum_of_two_products_is_no_bias():
    nodes = [
        helper.make_node("MatMul", ["x", "enc.q.weight"], ["a"]),
        helper.make_node("MatMul", ["x", "enc.k.weight"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    model = graph_of(nodes, **{name: WEIGHTS[name] for name in ("enc.q.weight", "enc.k.weight")})
    assert run(model)[1] == {"a": ("enc.q", "parameter-name"), "b": ("enc.k", "parameter-name"), "y": None}


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        (WEIGHTS["enc.fc.weight"], ("enc.fc", "weight-value")),
        (WEIGHTS["enc.fc.weight"].T, ("enc.fc", "weight-value")),
        (WEIGHTS["enc.fc.weight"].astype(np.float16), ("enc.fc", "weight-value")),
        (WEIGHTS["conv.weight"] * np.array([1, 2, 0.5, 3], np.float32)[:, None, None, None], ("conv", "weight-rows")),
        (EIGHT_BIT, ("enc.q", "weight-rows")),
        (np.concatenate([WEIGHTS[f"enc.{n}.weight"] for n in "qkv"], 0).T, ("enc", "weight-merged")),
        (np.concatenate([WEIGHTS[f"enc.{n}.weight"].T for n in "qkv"], 1), ("enc", "weight-merged")),
        (WEIGHTS["twin_a.weight"], None),  # two modules have these values
        (np.zeros((6, 6), np.float32), None),
        (RNG.normal(size=(6, 6)).astype(np.float32), None),
    ],
)  # fmt: skip
def test_values_without_names(file, weight, expected):
    nodes, initializers = product(weight)
    assert run(graph_of(nodes, **initializers), file)[1]["y"] == expected


def test_values_can_be_left_out(file):
    nodes, initializers = product(WEIGHTS["enc.fc.weight"])
    assert run(graph_of(nodes, **initializers), file, values=False)[1]["y"] is None


def test_the_trace_says_whose_parameter_a_name_is(trace, tmp_path):
    tied = Parameter("enc.fc.weight", 1, (8, 6), ("decoder.weight",))
    file = save_trace(
        Trace(trace.modules, (tied,), trace.parameter_stats[:1], trace.parameter_samples[:1], trace.parameter_rows[:1]),
        tmp_path / "t",
    )
    nodes = [helper.make_node("MatMul", ["x", "decoder.weight"], ["y"])]
    _, found = run(graph_of(nodes, **{"decoder.weight": WEIGHTS["enc.fc.weight"].T}), file)
    assert found["y"] == (trace.modules[1].path, "parameter-name")


def test_through_a_transpose_and_a_dequantisation(file):
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"]),
        helper.make_node("Transpose", ["d"], ["t"]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    _, found = run(graph_of(nodes, w=EIGHT_BIT, s=np.float32(0.02)), file)
    assert {path for path, _ in found.values()} == {"enc.q"}


def test_stronger_evidence_stays_and_weaker_gives_way(file):
    nodes, initializers = product(WEIGHTS["enc.fc.weight"])
    for held, stays in ((Source.SCOPE, True), (Source.VALUE, True), (Source.INHERITED, False)):
        model = graph_of(nodes, **initializers)
        next(model.nodes()).attribute_to(Attribution("other", held, "r", 0.5, by="test"))
        assert run(model, file)[1]["y"] == (("other", "r") if stays else ("enc.fc", "weight-value"))


def test_a_trace_that_cannot_be_read_is_an_error(tmp_path):
    (tmp_path / "t").write_bytes(b"no")
    with pytest.raises(InputError, match="not a trace file"):
        run(graph_of(*product(np.ones((2, 2)))[:1], w=np.ones((2, 2))), tmp_path / "t")


def test_an_index_without_a_trace_knows_names_only():
    index = WeightIndex(None)
    assert index.by_name("a.b.weight").path == "a.b" and index.by_name("onnx::MatMul_1") is None
    assert index.by_value(WEIGHTS["enc.fc.weight"]) is None
