"""A node that an optimiser fused has one answer, whatever carries it: names, table or reference."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from modelexport.cli.htp_opt import main
from modelexport.ir.io.tag_rows import model_rows


def _chain(fused: bool, name: str, end: str) -> onnx.ModelProto:
    """``x -> Conv -> Relu -> end``, or with the two fused to one node called ``name``."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["/conv1/Conv_output_0"], name="/conv1/Conv"),
        helper.make_node("Relu", ["/conv1/Conv_output_0"], [end], name="/relu/Relu"),
    ]
    if fused:
        nodes = [helper.make_node("FusedConv", ["x", "w"], [end], name=name, domain="com.microsoft", activation="Relu")]
    if end != "y":
        nodes.append(helper.make_node("Neg", [end], ["y"], name="/Neg"))
    shape = [1, 1, 4, 4]
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [helper.make_tensor("w", TensorProto.FLOAT, [1, 1, 1, 1], [1.0])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


@pytest.mark.parametrize(
    ("name", "end", "path"),
    [
        ("/conv1/Conv", "/relu/Relu_output_0", "conv1"),  # the name is as it was
        ("fused /conv1/Conv", "/relu/Relu_output_0", "relu"),  # it was made out of another; the last output is told
        ("fused /conv1/Conv", "y", "conv1"),  # the output says nothing
    ],
)
def test_one_answer(tmp_path: Path, name: str, end: str, path: str) -> None:
    source, tagged, plain = (tmp_path / f"{each}.onnx" for each in ("source", "tagged", "plain"))
    onnx.save(_chain(False, name, end), source)
    assert main([str(source), "-o", str(tagged), "--quiet"]) == 0
    onnx.save(_chain(True, name, end), plain)
    carried = _chain(True, name, end)
    carried.metadata_props.extend(onnx.load(tagged).metadata_props)
    onnx.save(carried, tmp_path / "carried.onnx")

    answers = {}
    for file, words in (("plain", []), ("carried", []), ("plain", ["--reference", str(tagged)])):
        out = tmp_path / "out.onnx"
        assert main([str(tmp_path / f"{file}.onnx"), "-o", str(out), "--quiet", *words]) == 0
        answers[file, *words] = next(row.path for row in model_rows(out) if row.op_type == "FusedConv")
    assert set(answers.values()) == {path}, answers
