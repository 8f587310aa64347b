"""What the cases of a lossy round trip are built from, and the table of them.

Every case starts from a chain ``x -> Relu -> Neg -> y`` whose nodes have metadata, and adds its feature. ``RUNNABLE``
names the cases that onnxruntime can run.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx
from onnx import TensorProto, helper

CASES: dict[str, Callable[[onnx.ModelProto], None]] = {}
RUNNABLE: set[str] = set()
BAD = b"\xff\xfe\x80"  # not UTF-8


def case(runnable: bool = False) -> Callable[[Callable[[onnx.ModelProto], None]], Callable[[onnx.ModelProto], None]]:
    def add(function: Callable[[onnx.ModelProto], None]) -> Callable[[onnx.ModelProto], None]:
        name = function.__name__.strip("_")
        CASES[name] = function
        if runnable:
            RUNNABLE.add(name)
        return function

    return add


def build(name: str) -> onnx.ModelProto:
    model = chain()
    CASES[name](model)
    return model


def chain() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Relu", ["x"], ["h"], name="relu"),
        helper.make_node("Neg", ["h"], ["y"], name="neg"),
    ]
    for node in nodes:
        node.metadata_props.add(key="uid", value=node.name)
    graph = helper.make_graph(nodes, "g", [floats("x")], [floats("y")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def floats(name: str, shape: tuple[int | str, ...] = (2,)) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def tensor(name: str, *values: float) -> onnx.TensorProto:
    return helper.make_tensor(name, TensorProto.FLOAT, [len(values)], values)


def sparse(name: str) -> onnx.SparseTensorProto:
    indices = helper.make_tensor(f"{name}_indices", TensorProto.INT64, [1], [1])
    return helper.make_sparse_tensor(tensor(name, 2.0), indices, [2])


def unknown_field(number: int) -> bytes:
    return bytes([0x82 | (number & 0x0F) << 3, number >> 4, 3]) + b"new"


def spend(model: onnx.ModelProto, op_type: str = "Thing", domain: str = "acme") -> onnx.NodeProto:
    """A node of an operator that no one knows, on the chain's middle value, to hang attributes on."""
    if domain and not any(entry.domain == domain for entry in model.opset_import):
        model.opset_import.add(domain=domain, version=1)
    node = helper.make_node(op_type, ["h"], ["t"], domain=domain)
    model.graph.node.append(node)
    return model.graph.node[-1]
