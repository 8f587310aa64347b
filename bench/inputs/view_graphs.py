"""Graphs that are hard to look at, of any size: many blocks, all nodes in one module, modules forty levels deep."""

from __future__ import annotations

from collections.abc import Callable

import onnx
from onnx import TensorProto, helper

DEPTH = 40


def blocks(index: int) -> str:
    """Blocks of 40 nodes in eight modules each."""
    parts = ("attn.q", "attn.k", "attn.v", "attn.out", "norm1", "mlp.up", "mlp.down", "norm2")
    return f"model.layers.{index // 40}.{parts[index % 40 // 5]}"


def flat(index: int) -> str:
    """One module with everything."""
    return "model"


def deep(index: int) -> str:
    """Modules of ten nodes, each inside the one before, up to forty levels."""
    column, row = divmod(index // 10, DEPTH)
    return f"tower.{column}" + "".join(f".in{level}" for level in range(row))


SHAPES: dict[str, Callable[[int], str]] = {"blocks": blocks, "flat": flat, "deep": deep}


def build(nodes: int, shape: str) -> onnx.ModelProto:
    """A valid model; a node's name says its module.

    Every fifth node also reads the first value, every seventh the one five nodes before; every twentieth is a constant.
    """
    path_of = SHAPES[shape]
    graph = onnx.GraphProto(name="main_graph")
    graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8]))
    made = ["x"]
    for index in range(nodes):
        prefix = "/" + path_of(index).replace(".", "/")
        if index % 20 == 19:
            node = helper.make_node(
                "Constant", [], [f"c{index}"], value_float=float(index), name=f"{prefix}/Constant_{index}"
            )
        else:
            inputs = [made[-1]]
            if index % 20 == 0 and index:
                inputs.append(f"c{index - 1}")
            elif index % 10 == 9 or index % 10 == 5:
                inputs.append(made[1])
            elif index % 7 == 6:
                inputs.append(made[-5] if len(made) > 5 else made[0])
            kind = "Relu" if len(inputs) == 1 else "Add"
            node = helper.make_node(
                kind, inputs, [f"{prefix}/{kind}_{index}_output_0"], name=f"{prefix}/{kind}_{index}"
            )
            made.append(node.output[0])
        graph.node.append(node)
    graph.output.append(helper.make_tensor_value_info(made[-1], TensorProto.FLOAT, ["batch", 8]))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="bench")


def overlay(model: onnx.ModelProto) -> dict[str, object]:
    """A number for every node."""
    values = {node.name: round(1 + index * 7919 % 997 / 100, 2) for index, node in enumerate(model.graph.node)}
    return {"name": "time", "unit": "us", "aggregate": "sum", "values": values}
