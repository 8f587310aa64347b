"""Operators on quantised numbers, whose values are integers; masks that hide scores; what is said with a verdict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from modelexport.analysis import compare_values
from modelexport.analysis.divergence.quantised_values import QuantisedForm

quantization = pytest.importorskip("onnxruntime.quantization")
BLOCKS = """<ir_version: 8, opset_import: ["" : 17]>
g (float[4,8] x) => (float[4,8] y) <int64[2] back = {8, 4}, int64[2] there = {4, 8}> {
    ["/zero/fc/MatMul"] a = MatMul (x, W0)
    ["/zero/act/Relu"] b = Relu (a)
    ["/zero/Add"] c = Add (b, x)
    ["/one/turn/Transpose"] d = Transpose (c)
    ["/one/turn/Reshape"] e = Reshape (d, back)
    ["/one/turn/Transpose_1"] f = Transpose (e)
    ["/one/fc/MatMul"] g = MatMul (f, W1)
    ["/one/Add"] h = Add (g, c)
    ["/two/fc/MatMul"] i = MatMul (h, W2)
    ["/two/Add"] j = Add (i, h)
    ["/head/Tanh"] y = Tanh (j) }"""
MASKED = """<ir_version: 8, opset_import: ["" : 17]>
g (float[4,8] x, float[4,8] mask) => (float[4,8] y) {
    ["/scores/MatMul"] a = MatMul (x, W0)
    ["/masked/Add"] b = Add (a, mask)
    ["/weights/Softmax"] y = Softmax <axis = 1> (b) }"""


class Reader(quantization.CalibrationDataReader):  # type: ignore[misc,name-defined]
    def __init__(self, feeds: dict[str, np.ndarray]) -> None:
        self.left = [feeds]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self.left.pop() if self.left else None


def made(folder: Path, text: str, form: str, feeds: dict[str, np.ndarray]) -> tuple[Path, Path]:
    """A model with weights, and what the quantiser makes of it."""
    random = np.random.default_rng(0)
    proto = parser.parse_model(text)
    read = {value for node in proto.graph.node for value in node.input if value.startswith("W")}
    proto.graph.initializer.extend(
        numpy_helper.from_array(random.normal(size=(8, 8)).astype(np.float32), name) for name in sorted(read)
    )
    file, target = folder / "m.onnx", folder / "q.onnx"
    onnx.save(proto, file)
    kind = getattr(quantization.QuantFormat, form)
    quantization.quantize_static(str(file), str(target), Reader(feeds), quant_format=kind)
    return file, target


@pytest.fixture
def x() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)}


def test_integers_that_stand_for_values_are_compared(tmp_path: Path, x: dict[str, np.ndarray]) -> None:
    file, target = made(tmp_path, BLOCKS, "QOperator", x)
    kinds = {node.op_type for node in onnx.load(target).graph.node}
    assert {"QLinearMatMul", "QLinearAdd"} <= kinds and "Relu" not in kinds
    found = compare_values(file, target, inputs=x)
    assert found.agree and found.largest_agreeing < 0.02
    assert found.unmatched_values == 1  # what the activation read, which the limits stand for
    assert {row.path for row in found.modules if row.status != "not compared"} == {
        "zero.act", "zero", "one.turn", "one.fc", "one", "two.fc", "two", "head",
    }  # fmt: skip


@pytest.mark.parametrize(("weight", "path"), [("W0", "zero.act"), ("W1", "one.fc"), ("W2", "two.fc")])
def test_an_error_in_integers_is_not_passed_on(
    tmp_path: Path, x: dict[str, np.ndarray], weight: str, path: str
) -> None:
    file, target = made(tmp_path, BLOCKS, "QOperator", x)
    proto = onnx.load(target)
    held = next(tensor for tensor in proto.graph.initializer if tensor.name == f"{weight}_quantized")
    numbers = numpy_helper.to_array(held)
    held.CopyFrom(numpy_helper.from_array(np.roll(numbers, 1, axis=0), held.name))
    onnx.save(proto, target)
    found = compare_values(file, target, inputs=x)
    assert found.diverging == [path] and found.first is not None and found.first.path == path
    carries = {row.path for row in found.modules if row.status == "carries"}
    assert "head" in carries


def test_integers_as_the_quantiser_makes_them() -> None:
    form = QuantisedForm("v", 0.5, 128)
    numbers = np.float32([0, 0.24, 0.26, -64, -100, 63.5, 900, np.inf, np.nan, 0.75, 1.25])
    integers = form.integers(numbers, np.dtype(np.uint8))
    assert integers.tolist() == [128, 128, 129, 0, 0, 255, 255, 255, 128, 130, 130]
    assert form.numbers(integers).tolist() == [0, 0, 0.5, -64, -64, 63.5, 63.5, 63.5, 0, 1, 1]
    assert QuantisedForm("v", 0.5, 0).integers(np.float32([-900]), np.dtype(np.int8)).tolist() == [-128]


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_a_mask_does_not_hide_the_scores_that_it_is_added_to(
    tmp_path: Path, x: dict[str, np.ndarray], form: str
) -> None:
    low = float(np.finfo(np.float32).min)
    feeds = {**x, "mask": np.triu(np.full((4, 8), low, np.float32), 1)}
    file, target = made(tmp_path, MASKED, form, feeds)
    found = compare_values(file, target, inputs=feeds)
    assert found.first is not None and found.first.path == "masked" and found.first.introduced == pytest.approx(1)
    assert compare_values(file, file, inputs=feeds).agree
    small = {**x, "mask": np.triu(np.full((4, 8), -9, np.float32), 1)}
    assert compare_values(*made(tmp_path, MASKED, form, small), inputs=small).agree


def test_errors_that_add_up_are_told(x: dict[str, np.ndarray]) -> None:
    steps = "\n".join(f'["/m{n}/Mul"] v{n + 1} = Mul (v{n}, c)' for n in range(9))
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[4,8] v0) => (float[4,8] v9) <float c = {{1}}> {{ {steps} }}"""
    right = parser.parse_model(text)
    wrong = parser.parse_model(text.replace("{1}", "{1.00003}"))
    from modelexport.ir.io.reader import from_proto

    found = compare_values(from_proto(right), from_proto(wrong), inputs={"v0": x["x"]})
    assert found.agree
    assert found.notes == (
        "no module goes wrong by itself, but errors add up: output v9 differs by 0.00027, and first v4 of m3",
    )
    assert compare_values(from_proto(right), from_proto(right), inputs={"v0": x["x"]}).notes == ()


def test_nodes_that_can_not_be_run_are_counted(x: dict[str, np.ndarray]) -> None:
    from modelexport.ir.io.reader import from_proto

    text = """<ir_version: 8, opset_import: ["" : 17, "acme" : 1]>
        g (float[4,8] x) => (float[4,8] y) { a = Tanh (x) b = acme.Magic (a) y = Neg (b) }"""
    model = from_proto(parser.parse_model(text))
    found = compare_values(model, model, inputs=x)
    assert (found.agree, found.compared_values, found.unmatched_values) == (True, 1, 2)
    assert len(found.notes) == 1
    assert found.notes[0].startswith("2 nodes can't be run, and what they make is not compared: Magic: ")
