"""One case for each rule that decides a node which a tool made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx
import pytest
from onnx import TensorProto, helper

from modelexport.ir import Attribution, Source, load_model
from modelexport.passes import PassManager, Pipeline
from modelexport.passes.tools.base import ToolPass
from modelexport.passes.tools.carry import CHOSEN, MEASURED
from modelexport.passes.tools.handover import Handover

A, B = "/p/a/MatMul_output_0", "/p/b/Add_output_0"
MATMUL = helper.make_node("MatMul", ["x", "p.a.weight"], [A], name="/p/a/MatMul")
ADD = helper.make_node("Add", [A, "p.b.bias"], [B], name="/p/b/Add")
RELU = helper.make_node("Relu", [B], ["y"], name="/c/Relu")
CHAIN = (MATMUL, ADD, RELU)
WEIGHTS = [helper.make_tensor("p.a.weight", 1, [2, 2], [1.0] * 4), helper.make_tensor("p.b.bias", 1, [2], [1.0] * 2)]


def _model(nodes: list[onnx.NodeProto], *weights: onnx.TensorProto) -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y], [*WEIGHTS, *weights])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, ir_version=10, opset_imports=opsets)


def _made(
    *nodes: onnx.NodeProto, weights: tuple[onnx.TensorProto, ...] = (), source: tuple[onnx.NodeProto, ...] = CHAIN
) -> Attribution:
    """What the first node has, once a tool has made ``nodes`` of ``source``."""

    @dataclass(frozen=True)
    class Making(ToolPass):
        """A tool that makes these nodes of whatever it is given."""

        name: ClassVar[str] = "making"
        package: ClassVar[str] = "onnx"
        module: ClassVar[str] = "onnx"
        extra: ClassVar[str] = "ort"

        def apply(self, given: Handover, names: dict[str, list[str]]) -> onnx.ModelProto:
            """See the class."""
            return _model(list(nodes), *weights)

    model = load_model(_model(list(source)).SerializeToString())
    PassManager("htp").run(model)
    notes = PassManager(Pipeline((Making(),))).run(model).runs[0].result.notes
    found = model.main.nodes[0].attribution
    assert found is not None and found.by == "making" and notes["by rule"][found.rule] >= 1  # type: ignore[index]
    assert found.confidence == MEASURED.get(found.rule, CHOSEN[found.rule])
    return found


def _reading(node: onnx.NodeProto, *inputs: str) -> onnx.NodeProto:
    return helper.make_node(node.op_type, inputs, list(node.output), name=node.name)


SCALE = helper.make_tensor("scale", 1, [], [0.5])
EIGHT = helper.make_tensor("eight", 3, [2, 2], [1] * 4)


def test_rule_weight_reader() -> None:
    dequantise = helper.make_node("DequantizeLinear", ["eight", "scale"], ["p.b.weight"], name="p.b.weight_Dequantize")
    found = _made(dequantise, _reading(MATMUL, "x", "p.b.weight"), ADD, RELU, weights=(EIGHT, SCALE))
    assert (found.path, found.source, found.rule) == ("p.a", Source.INHERITED, "weight-reader")
    assert found.evidence == ("/p/a/MatMul",)


def test_rule_weight_readers() -> None:
    dequantise = helper.make_node("DequantizeLinear", ["eight", "scale"], ["both"])
    found = _made(dequantise, _reading(MATMUL, "x", "both"), _reading(ADD, A, "both"), RELU, weights=(EIGHT, SCALE))
    assert (found.path, found.rule, found.evidence) == ("p", "weight-readers", ("/p/a/MatMul", "/p/b/Add"))


def test_rule_value_maker() -> None:
    half = helper.make_node("Cast", [A], ["half"], to=TensorProto.FLOAT16)
    again = helper.make_node("Cast", ["half"], ["float"], to=TensorProto.FLOAT)
    found = _made(half, again, MATMUL, _reading(ADD, "float", "p.b.bias"), RELU)
    assert (found.path, found.source, found.rule) == ("p.a", Source.REFERENCE, "value-maker")
    assert found.evidence == (A,)


def test_rule_input_readers() -> None:
    half = helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16)
    found = _made(half, _reading(MATMUL, "half", "p.a.weight"), ADD, RELU)
    assert (found.path, found.rule, found.evidence) == ("p.a", "input-readers", ("/p/a/MatMul",))


def _fused(name: str, *outputs: str, inputs: tuple[str, ...] = ("x", "p.a.weight", "p.b.bias")) -> onnx.NodeProto:
    return helper.make_node("Fused", inputs, outputs, name=name, domain="com.microsoft")


def test_rule_fused_name() -> None:
    found = _made(_fused("fused /p/a/MatMul", "z"), _reading(RELU, "z"))
    assert (found.path, found.rule, found.evidence) == ("p.a", "fused-name", ("/p/a/MatMul",))


def test_rule_fused_output() -> None:
    found = _made(_fused("fused_1", "z"), _reading(RELU, "z"))
    assert (found.path, found.rule, found.evidence) == ("p.b", "fused-output", ("/p/b/Add",))


@pytest.mark.parametrize(("inputs", "path"), [(("x",), "p.a"), (("x", "p.b.bias"), "p")])
def test_rule_replaced(inputs: tuple[str, ...], path: str) -> None:
    """What reads the result has other inputs than before, so no place tells what was there."""
    found = _made(_fused("fused_1", "z", inputs=inputs), _reading(RELU, "z", "scale"), weights=(SCALE,))
    assert (found.path, found.source, found.rule) == (path, Source.INHERITED, "replaced")


def test_a_node_that_makes_what_several_modules_made_is_from_around_them() -> None:
    tail = helper.make_node("Sum", [A, B], ["y"], name="/c/Sum")
    found = _made(_fused("fused_1", "z1", "z2"), _reading(tail, "z1", "z2"), source=(MATMUL, ADD, tail))
    assert (found.path, found.source, found.rule) == ("p", Source.INHERITED, "replaced")
    assert found.evidence == ("/p/a/MatMul", "/p/b/Add")


def test_a_fused_node_has_the_answer_that_its_file_gives() -> None:
    """Where the value it makes is called as the user called it, its name decides, as in a file of the tool's own."""
    fused = helper.make_node("FusedGemm", ["x", "p.a.weight"], ["y"], name="fused /p/a/MatMul", domain="com.microsoft")
    found = _made(fused)
    assert (found.path, found.rule, found.evidence) == ("p.a", "fused-name", ("/p/a/MatMul",))


def test_a_value_reshaped_for_one_of_several_readers_is_that_readers() -> None:
    other = helper.make_node("MatMul", ["x", "p.b.bias"], [B], name="/p/b/MatMul")
    tail = helper.make_node("Sum", [A, B], ["y"], name="/c/Sum")
    gemm = helper.make_node("Gemm", ["flat", "p.a.weight"], ["z"], name="/p/a/MatMul/gemm")
    reshape = helper.make_node("Flatten", ["x"], ["flat"])
    found = _made(reshape, gemm, _reading(tail, "z", "p.b.bias"), source=(MATMUL, other, tail))
    assert (found.path, found.rule) == ("p.a", "replaced")


@pytest.mark.parametrize(("options", "path"), [({}, "p.a"), ({"activation": "Mul"}, "p.b")])
def test_an_operator_with_another_in_its_weights_is_from_its_own_module(options: dict[str, str], path: str) -> None:
    """As where the tool keeps the operator's name. One that says what it does besides is from what its name says."""
    scale = helper.make_node("Mul", [A, "p.b.bias"], [B], name="/p/b/Mul")
    merged = helper.make_node("MatMul", ["x", "merged"], ["z"], name=f"{B}_nchwc", domain="com.microsoft", **options)
    weight = helper.make_tensor("merged", 1, [2, 2], [1.0] * 4)
    found = _made(merged, _reading(RELU, "z"), weights=(weight,), source=(MATMUL, scale, RELU))
    assert (found.path, found.rule, found.evidence) == (path, "fused-name", (B,))


def test_a_part_of_an_operator_that_a_tool_divides_is_from_its_module() -> None:
    """Its value is still made, by an operator of another type; what only helps to make it is no neighbour's."""
    swish = helper.make_node("HardSwish", [A], [B], name="/p/b/HardSwish")
    parts = helper.make_node("HardSigmoid", [A], ["inner"]), helper.make_node("Mul", [A, "inner"], [B])
    found = _made(*parts, MATMUL, RELU, source=(MATMUL, swish, RELU))
    assert (found.path, found.rule, found.evidence) == ("p.b", "replaced", ("/p/b/HardSwish",))
