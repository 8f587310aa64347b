"""Graphs that are hard for a reader: ``python hard_graphs.py CASE FILE``; ``CASES`` says which and what they are.

Every graph is valid ONNX but for ``reversed``, whose nodes are in the wrong order on purpose.
Names are those of a TorchScript export.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import speed_graphs
from onnx import TensorProto, helper, numpy_helper

READERS = 20_000
BRANCHES = 5_000
CHAIN = 50_000
DEPTH = 30  # protobuf refuses messages nested more than 100 deep; a body takes three levels
GIGABYTES = 20


def _value(name: str, kind: int = TensorProto.FLOAT, shape: tuple[int, ...] = (1,)) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _model(nodes: list[onnx.NodeProto], output: str, flag: bool = False) -> onnx.ModelProto:
    inputs = [_value("x"), *([_value("flag", TensorProto.BOOL, ())] if flag else [])]
    graph = helper.make_graph(nodes, "main_graph", inputs, [_value(output)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="pytorch")
    model.ir_version = 8
    return model


def million() -> onnx.ModelProto:
    return speed_graphs.build(1_000_000)


def readers(count: int = READERS) -> onnx.ModelProto:
    """One weight that every node reads; a Sum reads them all again."""
    names = [f"/layer.{index}/Add_output_0" for index in range(count)]
    nodes = [helper.make_node("Add", ["x", "shared"], [name], name=name.removesuffix("_output_0")) for name in names]
    nodes.append(helper.make_node("Sum", names, ["y"], name="/Sum"))
    model = _model(nodes, "y")
    model.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "shared"))
    return model


def _branch(name: str, nodes: list[onnx.NodeProto], output: str) -> onnx.GraphProto:
    return helper.make_graph(nodes, name, [], [_value(output)])


def branches(count: int = BRANCHES) -> onnx.ModelProto:
    """A chain of Ifs whose bodies read the chain from outside."""
    nodes, last = [], "x"
    for index in range(count):
        scope = f"/layer.{index}"
        bodies = {}
        for branch, op in (("then_branch", "Relu"), ("else_branch", "Neg")):
            inner = f"{scope}/{branch}/{op}"
            bodies[branch] = _branch(branch, [helper.make_node(op, [last], [f"{inner}_o"], name=inner)], f"{inner}_o")
        last = f"{scope}/If_output_0"
        nodes.append(helper.make_node("If", ["flag"], [last], name=f"{scope}/If", **bodies))
    return _model(nodes, last, flag=True)


def reversed_chain(count: int = CHAIN) -> onnx.ModelProto:
    """A chain whose last node stands first."""
    names = ["x", *(f"/layer.{index}/Relu_output_0" for index in range(count))]
    nodes = [
        helper.make_node("Relu", [names[index]], [names[index + 1]], name=names[index + 1].removesuffix("_output_0"))
        for index in range(count)
    ]
    return _model(nodes[::-1], names[-1])


def nested(depth: int = DEPTH) -> onnx.ModelProto:
    """If in If: the innermost body reads the model's input."""
    scope = "".join(f"/inner.{level}" for level in range(depth))
    node = helper.make_node("Relu", ["x"], ["deepest"], name=f"{scope}/Relu")
    output = "deepest"
    for level in reversed(range(depth)):
        scope = "".join(f"/inner.{outer}" for outer in range(level))
        then, other = _branch("then_branch", [node], output), f"other_{level}"
        plain = helper.make_node("Neg", ["x"], [other], name=f"{scope}/Neg")
        output = f"if_{level}"
        node = helper.make_node(
            "If", ["flag"], [output], name=f"{scope}/If", then_branch=then,
            else_branch=_branch("else_branch", [plain], other),
        )  # fmt: skip
    return _model([node], output, flag=True)


CASES: dict[str, tuple[str, Callable[[], onnx.ModelProto]]] = {
    "readers": (f"one tensor read by {READERS:,} nodes", readers),
    "branches": (f"{BRANCHES:,} If nodes", branches),
    "reversed": (f"{CHAIN:,}-long chain in reverse order", reversed_chain),
    "nested": (f"bodies nested {DEPTH} deep", nested),
    "million": ("1,000,000 nodes", million),
}


def external(folder: Path) -> Path:
    """A model with 20 GB of weights in a sparse file beside it; ``folder``/big.onnx."""
    return speed_graphs.build_external(folder, tensors=GIGABYTES, mega=1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=[*CASES, "external"])
    parser.add_argument("file", type=Path, help="where to write; a folder for the case external")
    options = parser.parse_args()
    if options.case == "external":
        external(options.file)
    else:
        options.file.write_bytes(CASES[options.case][1]().SerializeToString())


if __name__ == "__main__":
    main()
