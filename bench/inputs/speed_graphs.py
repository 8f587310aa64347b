"""Transformer-like graphs of any size for the speed benchmark: ``python speed_graphs.py N FILE [--bodies]``.

Names are those of a TorchScript export, shape chains and unnamed axes constants included; every node has one metadata
entry and every value its value_info. Weights are tiny: about 315 bytes of file per node; time is spent on nodes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HIDDEN = 2


class Builder:
    """Appends nodes to a graph, with names, metadata and value_info as an exporter would."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.count = 0

    def node(
        self, scope: str, op: str, inputs: list[str], shape: list[int | str], kind: int = 1, **attributes: Any
    ) -> str:
        name = f"{scope}/{op}_{self.count}" if scope else ""
        output = f"{name}_output_0" if scope else f"onnx::{op}_{self.count}"
        node = helper.make_node(op, inputs, [output], name=name, **attributes)
        node.metadata_props.add(key="uid", value=str(self.count))
        self.graph.node.append(node)
        self.graph.value_info.append(helper.make_tensor_value_info(output, kind, shape))
        self.count += 1
        return output

    def constant(self, values: list[int], scope: str = "") -> str:
        tensor = numpy_helper.from_array(np.array(values, np.int64))
        return self.node(scope, "Constant", [], [len(values)], TensorProto.INT64, value=tensor)

    def weight(self, name: str, *shape: int) -> str:
        self.graph.initializer.append(numpy_helper.from_array(np.full(shape, 0.5, np.float32), name))
        return name


def linear(b: Builder, scope: str, x: str) -> str:
    dotted = scope.strip("/").replace("/", ".")
    shape: list[int | str] = ["batch", "seq", HIDDEN]
    y = b.node(scope, "MatMul", [x, b.weight(f"{dotted}.weight", HIDDEN, HIDDEN)], shape)
    return b.node(scope, "Add", [b.weight(f"{dotted}.bias", HIDDEN), y], shape)


def norm(b: Builder, scope: str, x: str) -> str:
    dotted = scope.strip("/").replace("/", ".")
    weights = [b.weight(f"{dotted}.weight", HIDDEN), b.weight(f"{dotted}.bias", HIDDEN)]
    return b.node(scope, "LayerNormalization", [x, *weights], ["batch", "seq", HIDDEN], axis=-1)


def heads(b: Builder, scope: str, x: str, perm: list[int]) -> str:
    """View as (batch, seq, heads, size), with the shape chain that a dynamic batch brings, then transpose."""
    shape = b.node(scope, "Shape", [x], [3], TensorProto.INT64)
    batch = b.node(scope, "Gather", [shape, b.constant([0], scope)], [1], TensorProto.INT64)
    length = b.node(scope, "Gather", [shape, b.constant([1])], [1], TensorProto.INT64)
    target = b.node(scope, "Concat", [batch, length, b.constant([1, HIDDEN])], [4], TensorProto.INT64, axis=0)
    y = b.node(scope, "Reshape", [x, target], ["batch", "seq", 1, HIDDEN])
    return b.node(scope, "Transpose", [y], ["batch", 1, "seq", HIDDEN], perm=perm)


def block(b: Builder, scope: str, x: str) -> str:
    """One block of 50 nodes."""
    hidden: list[int | str] = ["batch", "seq", HIDDEN]
    scores: list[int | str] = ["batch", 1, "seq", "seq"]
    inner = f"{scope}/attention/self"
    query = heads(b, inner, linear(b, f"{inner}/query", x), [0, 2, 1, 3])
    key = heads(b, inner, linear(b, f"{inner}/key", x), [0, 2, 3, 1])
    value = heads(b, inner, linear(b, f"{inner}/value", x), [0, 2, 1, 3])
    y = b.node(inner, "MatMul", [query, key], scores)
    y = b.node(inner, "Softmax", [y], scores, axis=-1)
    y = b.node(inner, "MatMul", [y, value], ["batch", 1, "seq", HIDDEN])
    y = b.node(inner, "Transpose", [y], ["batch", "seq", 1, HIDDEN], perm=[0, 2, 1, 3])
    y = b.node(inner, "Reshape", [y, b.constant([0, 0, HIDDEN])], hidden)
    y = linear(b, f"{scope}/attention/output/dense", y)
    y = b.node(f"{scope}/attention/output", "Add", [y, x], hidden)
    x = norm(b, f"{scope}/attention/output/LayerNorm", y)
    y = linear(b, f"{scope}/intermediate/dense", x)
    y = b.node(f"{scope}/intermediate/intermediate_act_fn", "Erf", [y], hidden)
    y = linear(b, f"{scope}/output/dense", y)
    y = b.node(f"{scope}/output", "Add", [y, x], hidden)
    return norm(b, f"{scope}/output/LayerNorm", y)


def conditional(b: Builder, scope: str, x: str) -> str:
    """An If whose two bodies are a block each and read ``x`` from outside."""
    hidden: list[int | str] = ["batch", "seq", HIDDEN]
    bodies: dict[str, Any] = {}
    for branch in ("then_branch", "else_branch"):
        inner = Builder(onnx.GraphProto(name=branch))
        inner.count = b.count + 1
        output = block(inner, f"{scope}/{branch}", x)
        inner.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, hidden))
        b.count = inner.count
        bodies[branch] = inner.graph
    return b.node(scope, "If", ["flag"], hidden, **bodies)


def build(nodes: int, bodies: bool = False) -> onnx.ModelProto:
    """A valid model with ``nodes`` nodes, up to a block more; ``bodies`` puts every fifth block in an If."""
    hidden: list[int | str] = ["batch", "seq", HIDDEN]
    graph = onnx.GraphProto(name="main_graph")
    graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, hidden))
    if bodies:
        graph.input.append(helper.make_tensor_value_info("flag", TensorProto.BOOL, []))
    b = Builder(graph)
    x, index = "x", 0
    while b.count < nodes:
        make = conditional if bodies and index % 5 == 4 else block
        x = make(b, f"/encoder/layer.{index}", x)
        index += 1
    graph.output.append(helper.make_tensor_value_info(x, TensorProto.FLOAT, hidden))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="pytorch")
    model.ir_version = 8
    return model


def build_external(folder: Path, tensors: int = 5, mega: int = 512) -> Path:
    """A model whose weights are a sparse data file of ``tensors`` x ``mega`` MiB. Returns the path of the model."""
    side = mega * 1024 * 1024 // 4
    graph = onnx.GraphProto(name="main_graph")
    graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, side // 1024]))
    total = ""
    for index in range(tensors):
        weight = graph.initializer.add(name=f"layer.{index}.weight", data_type=TensorProto.FLOAT)
        weight.dims.extend([1024, side // 1024])
        weight.data_location = TensorProto.EXTERNAL
        length = mega * 1024 * 1024
        for key, text in {"location": "big.onnx.data", "offset": str(index * length), "length": str(length)}.items():
            weight.external_data.add(key=key, value=text)
        name = f"/layer.{index}/Gemm"
        graph.node.append(helper.make_node("Gemm", ["x", weight.name], [f"{name}_output_0"], name=name, transB=1))
        if total:
            graph.node.append(
                helper.make_node("Add", [total, f"{name}_output_0"], [f"sum.{index}"], name=f"/Add_{index}")
            )
        total = f"sum.{index}" if total else f"{name}_output_0"
    graph.output.append(helper.make_tensor_value_info(total, TensorProto.FLOAT, [1, 1024]))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path = folder / "big.onnx"
    path.write_bytes(model.SerializeToString())
    with open(folder / "big.onnx.data", "wb") as data:
        data.truncate(tensors * mega * 1024 * 1024)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nodes", type=int, help="at least so many nodes; 0 writes the model with external data")
    parser.add_argument("file", type=Path)
    parser.add_argument("--bodies", action="store_true", help="put every fifth block in the bodies of an If")
    options = parser.parse_args()
    if options.nodes:
        options.file.write_bytes(build(options.nodes, options.bodies).SerializeToString())
    else:
        build_external(options.file)


if __name__ == "__main__":
    main()
