"""Quantisers take away activations that the limits of the quantised numbers stand for: no module computes otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from modelexport.analysis import compare_values

quantization = pytest.importorskip("onnxruntime.quantization")
TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[4,8] x) => (float[4,8] y) <float low = {0}, float high = {6}> {
    ["/one/fc/MatMul"] a = MatMul (x, first)
    ["/one/act/Relu"] b = Relu (a)
    ["/two/fc/MatMul"] c = MatMul (b, second)
    ["/two/act/Clip"] d = Clip (c, low, high)
    ["/head/Add"] y = Add (d, b) }"""


class Reader(quantization.CalibrationDataReader):  # type: ignore[misc,name-defined]
    def __init__(self, x: np.ndarray) -> None:
        self.left = [{"x": x}]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self.left.pop() if self.left else None


@pytest.fixture(params=[False, True], ids=["shared", "dedicated"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path, np.ndarray]:
    """A model, the model quantised with one pair of operators for a value or one for each reader, and its input."""
    random = np.random.default_rng(0)
    proto = parser.parse_model(TEXT)
    proto.graph.initializer.extend(
        numpy_helper.from_array(random.normal(size=(8, 8)).astype(np.float32), name) for name in ("first", "second")
    )

    x = random.normal(size=(4, 8)).astype(np.float32)
    file, target = tmp_path / "m.onnx", tmp_path / "q.onnx"
    onnx.save(proto, file)
    options = {"DedicatedQDQPair": request.param}
    quantization.quantize_static(str(file), str(target), Reader(x), extra_options=options)
    return file, target, x


def test_a_value_before_an_activation_that_is_gone_is_not_the_one_after_it(files) -> None:
    file, target, x = files
    quantised = onnx.load(target)
    assert not {"Relu", "Clip"} & {node.op_type for node in quantised.graph.node}
    made = {value for node in quantised.graph.node for value in node.output}
    found = compare_values(file, target, inputs={"x": x})
    assert found.agree and not found.diverging
    rows = {row.path: row for row in found.modules}
    assert rows["one.act"].values == len(made & {"b_DequantizeLinear_Output", "b_DequantizeLinear_Output_1",
                                                 "b_DequantizeLinear_Output_2"})  # fmt: skip
    assert rows["one.act"].values in (1, 2) and rows["two.act"].values == 1
    assert max(row.introduced or 0 for row in found.modules) < 0.02


def test_a_fault_before_such_an_activation_is_found(files) -> None:
    file, target, x = files
    proto = onnx.load(target)
    scale = next(tensor for tensor in proto.graph.initializer if tensor.name == "second_scale")
    scale.CopyFrom(numpy_helper.from_array(np.float32(2) * numpy_helper.to_array(scale), scale.name))
    onnx.save(proto, target)
    found = compare_values(file, target, inputs={"x": x})
    assert found.first is not None
    assert found.first.path == "two.act" and found.first.value.startswith("d_DequantizeLinear_Output")
    assert set(found.first.suspects) == {"two.act", "two.fc"} and found.diverging == ["two.act"]
