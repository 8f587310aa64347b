"""sort-nodes: order at every depth, doubles, and what stays."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from modelexport.cli.htp_opt import main
from modelexport.ir import load_model
from modelexport.ir.errors import ModelExportError
from modelexport.ir.io.writer import to_bytes
from modelexport.passes import PassManager
from modelexport.passes.testing import run_pass


def _info(name: str, kind: int = TensorProto.FLOAT, shape: tuple[int, ...] = (2,)) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _model(shuffled: int | None, doubled: bool = False) -> onnx.ModelProto:
    """An If whose body captures a value, between operators; shuffled by a seed, in the body and outside."""
    body = [helper.make_node("Exp", ["b"], ["t1"], name="/c/Exp"), helper.make_node("Add", ["t1", "a"], ["t"])]
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="/a/Relu"),
        helper.make_node("Neg", ["a"], ["b"], name="/b/Neg"),
        helper.make_node("Abs", ["b"], ["d"], name="/d/Abs"),
        helper.make_node("Mul", ["c", "d"], ["y"], name="/Mul"),
    ]
    if shuffled is not None:
        random.Random(shuffled).shuffle(body)
    branch = helper.make_graph(body, "then", [], [_info("t")])
    other = helper.make_graph([helper.make_node("Identity", ["d"], ["e"])], "else", [], [_info("e")])
    nodes.insert(3, helper.make_node("If", ["p"], ["c"], name="/c/If", then_branch=branch, else_branch=other))
    nodes += [onnx.NodeProto.FromString(nodes[1].SerializeToString())] if doubled else []
    if shuffled is not None:
        random.Random(shuffled).shuffle(nodes)
    graph = helper.make_graph(nodes, "g", [_info("x"), _info("p", TensorProto.BOOL, ())], [_info("y")])
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])


def _outputs(data: bytes) -> np.ndarray:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, {"x": np.array([1, 2], np.float32), "p": np.array(True)})[0]
    return found


@pytest.mark.parametrize("seed", range(8))
def test_any_order_becomes_valid_and_tags_stay(seed: int) -> None:
    model = load_model(_model(seed, doubled=True).SerializeToString())
    PassManager("htp").run(model)
    paths = {node.name: node.attribution.path for node in model.nodes() if node.name and node.attribution}
    assert run_pass("sort-nodes", model).notes["removed"] == 1
    assert {node.name: node.attribution.path for node in model.nodes() if node.name and node.attribution} == paths
    assert not any("defined twice" in line for line in model.warnings)
    proto = onnx.ModelProto.FromString(to_bytes(model))
    onnx.checker.check_model(proto)
    tags = {node.name: {each.key: each.value for each in node.metadata_props} for node in proto.graph.node}
    assert {name: tags[name].get("htp.path") for name in tags} == {name: paths[name] for name in tags}
    assert "modelexport.place" not in str(proto)
    assert (_outputs(to_bytes(model)) == _outputs(_model(None).SerializeToString())).all()
    assert run_pass("sort-nodes", model).notes == {"moved": 0, "removed": 0}


def test_what_is_in_order_keeps_its_bytes() -> None:
    data = _model(None).SerializeToString()
    model = load_model(data)
    result = run_pass("sort-nodes", model)
    assert not result.structure_changed and to_bytes(model) == data


def test_nodes_that_differ_in_an_attribute_are_no_doubles() -> None:
    proto = _model(None, doubled=True)
    proto.graph.node[-1].attribute.add(name="alpha", type=onnx.AttributeProto.FLOAT, f=1.0)
    model = load_model(proto.SerializeToString())
    assert run_pass("sort-nodes", model).notes["removed"] == 0


def test_a_circle_is_an_error() -> None:
    proto = _model(None)
    proto.graph.node[0].input[0] = "b"
    with pytest.raises(ModelExportError):
        PassManager("sort-nodes").run(load_model(proto.SerializeToString()))


def test_functions_are_sorted_too() -> None:
    nodes = [helper.make_node("Neg", ["r"], ["q"]), helper.make_node("Exp", ["p"], ["r"])]
    opset = [helper.make_opsetid("", 18), helper.make_opsetid("local", 1)]
    proto = _model(None)
    proto.functions.append(helper.make_function("local", "fn", ["p"], ["q"], nodes, opset[:1]))
    proto.opset_import.append(opset[1])
    model = load_model(proto.SerializeToString())
    assert run_pass("sort-nodes", model).notes["moved"] == 2
    assert [node.op_type for node in onnx.ModelProto.FromString(to_bytes(model)).functions[0].node] == ["Exp", "Neg"]


def test_normalisations_that_share_weights_stay_in_float(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two nodes that read one weight, onnxruntime's converter writes the weight's cast twice."""
    monkeypatch.chdir(tmp_path)
    norm = {"axis": -1, "epsilon": 1e-5}
    nodes = [
        helper.make_node("LayerNormalization", ["x", "w"], ["a"], name="/a/LayerNormalization", **norm),
        helper.make_node("Mul", ["a", "w"], ["m"], name="/m/Mul"),
        helper.make_node("LayerNormalization", ["m", "w"], ["y"], name="/b/LayerNormalization", **norm),
    ]
    graph = helper.make_graph(nodes, "g", [_info("x")], [_info("y")], [helper.make_tensor("w", 1, [2], [1.0, 2.0])])
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)]), "m.onnx")
    passes = 'htp,float16{keep-io=true block="op:LayerNormalization"}'
    assert main(["m.onnx", "-o", "h.onnx", "--passes", passes, "-q"]) == 0
    casts = [node.output[0] for node in onnx.load("h.onnx").graph.node if node.op_type == "Cast"]
    twice = len(set(casts)) < len(casts)  # some versions of onnxruntime write every cast once
    assert main(["m.onnx", "-o", "h.onnx", "--passes", passes, "--check", "-q"]) == int(twice)
    assert main(["m.onnx", "-o", "h.onnx", "--passes", f"{passes},sort-nodes", "--check", "-q"]) == 0
    onnx.checker.check_model("h.onnx")
    onnxruntime.InferenceSession("h.onnx", providers=["CPUExecutionProvider"])
