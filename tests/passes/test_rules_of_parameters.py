"""One case for each rule that recognises a module by its parameters: ``test_rule_<rule>``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelexport.ir import Model
from modelexport.ir.arrays import Array
from modelexport.ir.io.reader import from_proto
from modelexport.ir.io.trace_file import Parameter, Trace, save_trace
from modelexport.ir.modules import Module
from modelexport.passes.evidence.values.fingerprints import fingerprint, row_samples
from modelexport.passes.testing import check

PASS = "parameter-attribution"
RNG = np.random.default_rng(5)
WEIGHTS = {
    name: RNG.normal(size=shape).astype(np.float32)
    for name, shape in {"enc.q.weight": (6, 6), "enc.k.weight": (6, 6), "enc.fc.weight": (8, 6)}.items()
}


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    paths = ["", "enc", *(name.removesuffix(".weight") for name in WEIGHTS)]
    prints = [fingerprint(array) for array in WEIGHTS.values()]
    found = Trace(
        tuple(Module(path, "my.Net", calls=1) for path in paths),
        tuple(Parameter(name, number + 2, array.shape) for number, (name, array) in enumerate(WEIGHTS.items())),
        np.array([stats for stats, _ in prints]),
        np.array([samples for _, samples in prints]),
        np.array([row_samples(array) for array in WEIGHTS.values()]),
    )
    return save_trace(found, tmp_path_factory.mktemp("trace") / "m.htptrace")


def product(weight: Array, name: str = "onnx::MatMul_7", bias: str = "") -> Model:
    """``Y = X @ weight``, with a bias of this name where one is given."""
    nodes = [helper.make_node("MatMul", ["X", name], ["h" if bias else "Y"])]
    tensors = {name: weight}
    if bias:
        nodes.append(helper.make_node("Add", ["h", bias], ["Y"]))
        tensors[bias] = np.arange(1.0, 1.0 + weight.shape[1], dtype=np.float32)
    values = [helper.make_tensor_value_info(value, TensorProto.FLOAT, None) for value in ("X", "Y")]
    initializers = [numpy_helper.from_array(np.ascontiguousarray(array), key) for key, array in tensors.items()]
    return from_proto(helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:], initializers)))


def test_rule_parameter_name() -> None:
    check(PASS, product(WEIGHTS["enc.q.weight"], "enc.q.weight"), "Y enc.q parameter/parameter-name")


def test_rule_bias_of_product() -> None:
    """A product with a weight of no telling name is the module's whose bias is added, and the other way round."""
    model = product(WEIGHTS["enc.q.weight"], bias="enc.q.bias")
    check(PASS, model, "h enc.q parameter/bias-of-product\nY enc.q parameter/parameter-name")
    model = product(WEIGHTS["enc.q.weight"], "enc.q.weight", "onnx::Add_8")
    check(PASS, model, "h enc.q parameter/parameter-name\nY enc.q parameter/bias-of-product")


def test_rule_weight_value(trace: Path) -> None:
    check(PASS, product(WEIGHTS["enc.fc.weight"].T), "Y enc.fc parameter/weight-value", trace=trace)


def test_rule_weight_rows(trace: Path) -> None:
    """Every row scaled, as a folded batch norm does."""
    scaled = WEIGHTS["enc.fc.weight"] * np.linspace(0.5, 3, 8, dtype=np.float32)[:, None]
    check(PASS, product(scaled.T), "Y enc.fc parameter/weight-rows", trace=trace)


def test_rule_weight_merged(trace: Path) -> None:
    """Two projections of one input as one product: from the module that has both."""
    merged = np.concatenate([WEIGHTS["enc.q.weight"].T, WEIGHTS["enc.k.weight"].T], axis=1)
    check(PASS, product(merged), "Y enc parameter/weight-merged", trace=trace)
