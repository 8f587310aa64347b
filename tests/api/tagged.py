"""Small tagged models for the tests of what reads tags; no torch needed."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from modelexport.ir import load_model, save_model
from modelexport.ir.io.sidecar import sidecar_path, write_sidecar
from modelexport.passes import PassManager


def plain_model(blocks: int = 2) -> onnx.ModelProto:
    """Blocks of Relu and MatMul with the names TorchScript gives; a Shape in the first, an unnamed Neg at the end."""
    nodes = [helper.make_node("Shape", ["x"], ["shape"], name="/blocks.0/Shape")]
    value = "x"
    for index in range(blocks):
        nodes += [
            helper.make_node("Relu", [value], [f"r{index}"], name=f"/blocks.{index}/act/Relu"),
            helper.make_node("MatMul", [f"r{index}", "w"], [f"m{index}"], name=f"/blocks.{index}/proj/MatMul"),
        ]
        value = f"m{index}"
    nodes.append(helper.make_node("Neg", [value], ["y"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 2]),
            helper.make_tensor_value_info("shape", TensorProto.INT64, [2]),
        ],
        [helper.make_tensor("w", TensorProto.FLOAT, [2, 2], [1, 0, 0, 1])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def tagged_file(folder: Path, name: str = "model.onnx", blocks: int = 2, sidecar: bool = True) -> Path:
    """A tagged model with its sidecar."""
    path = folder / name
    onnx.save(plain_model(blocks), path)
    model = load_model(path)
    PassManager("htp").run(model)
    save_model(model, path)
    if sidecar:
        write_sidecar(model, sidecar_path(path))
    return path


def set_metadata(path: Path, node: str, key: str, value: str | None) -> None:
    """Change or remove one metadata entry of one node of a file."""
    proto = onnx.load(path)
    for entry in next(each for each in proto.graph.node if each.name == node).metadata_props:
        if entry.key == key:
            entry.value = value or ""
            if value is None:
                entry.key = "gone"
    onnx.save(proto, path)
