"""Nodes that onnxruntime makes without a name, and calls by a number of its own in a profile."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelexport.analysis import profile
from modelexport.ir import load_model

SIZES = (7, 3, 11, 5, 2, 13)


def _model(half: bool) -> onnx.ModelProto:
    """Branches of different sizes, each with an operator that onnxruntime divides in two, in another order."""
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    nodes, outputs = [], []
    for size in SIZES:
        nodes += [
            helper.make_node("Relu", [f"x{size}"], [f"a{size}"], name=f"/m{size}/Relu"),
            helper.make_node("HardSwish", [f"a{size}"], [f"b{size}"], name=f"/m{size}/HardSwish"),
            helper.make_node("Neg", [f"b{size}"], [f"y{size}"], name=f"/m{size}/Neg"),
        ]
        outputs.append(helper.make_tensor_value_info(f"y{size}", kind, [size]))
    nodes = [*nodes[::3], *nodes[1::3][::-1], *nodes[2::3]]
    inputs = [helper.make_tensor_value_info(f"x{size}", kind, [size]) for size in SIZES]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 22)])


def _sizes(proto: onnx.ModelProto, folder: Path) -> dict[str, int]:
    """By the name in a profile, the size of what each node makes."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "p")
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    half = proto.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT16
    session.run(None, {f"x{size}": np.ones(size, np.float16 if half else np.float32) for size in SIZES})
    events = json.loads(Path(session.end_profiling()).read_text())
    return {
        event["name"].removesuffix("_kernel_time"): next(iter(event["args"]["output_type_shape"][0].values()))[0]
        for event in events
        if event["name"].endswith("_kernel_time")
    }


@pytest.mark.parametrize("half", [False, True])
def test_each_has_the_module_of_what_it_was_made_of(half: bool, tmp_path: Path) -> None:
    proto = _model(half)
    sizes = _sizes(proto, tmp_path)
    report = profile(load_model(proto.SerializeToString()), runs=2, warmup=1)
    assert report.to_dict()["unattributed"] == [] and report.attributed_share == 1.0
    unnamed = [node for node in report.nodes if node.node.partition("_")[0] == node.op_type]
    assert sum(node.op_type == "HardSigmoid" for node in unnamed) == len(SIZES)
    assert {node.node: node.path for node in unnamed} == {node.node: f"m{sizes[node.node]}" for node in unnamed}


def test_casts_around_float16_are_of_the_module_whose_value_they_cast() -> None:
    """onnxruntime computes it in float32, and writes InsertedPrecisionFreeCast_ before names of values and nodes."""
    weight = np.ones((8, 8, 3, 3), np.float16)
    weights = [numpy_helper.from_array(weight, f"whole.{part}.weight") for part in "abcd"]
    nodes, value = [], "x"
    for part in "abcd":
        for op_type, inputs in (("Conv", [value, f"whole.{part}.weight"]), ("Relu", [f"/{part}/Conv_output_0"])):
            value = f"/{part}/{op_type}_output_0"
            node = helper.make_node(op_type, inputs, [value], name=f"/{part}/{op_type}")
            for key, held in (("path", f"whole.{part}"), ("tag", f"/M/whole/{part}"), ("source", "scope"),
                              ("rule", "test"), ("confidence", "1.0")):  # fmt: skip
                node.metadata_props.add(key=f"htp.{key}", value=held)
            nodes.append(node)
    sizes = (("x", [1, 8, 16, 16]), (value, [1, 8, 8, 8]))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT16, dims) for name, dims in sizes]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    proto = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)])
    report = profile(load_model(proto.SerializeToString()), runs=2, warmup=1)
    made = {node.node: node.path for node in report.nodes if node.node.startswith("InsertedPrecisionFreeCast_/")}
    assert made and report.attributed_share == 1.0
    assert all(path == f"whole.{name.split('/')[1]}" for name, path in made.items())
