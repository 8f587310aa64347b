"""What every picture draws: modules in order, nodes with their values, and what flows between them."""

from __future__ import annotations

import onnx
import pytest

from modelexport.ir import Model
from modelexport.ir.io.reader import from_proto
from modelexport.passes.selection import select
from modelexport.passes.testing import make_model
from modelexport.views.data import ViewData, readers, view_data
from modelexport.views.levels import module_graph


def names(data: ViewData) -> dict[str, int]:
    return {node.node.name: node.index for node in data.nodes}


def test_modules_are_called_or_have_nodes_in_file_order(data: ViewData) -> None:
    rows = [(m.path, m.name, m.level, m.own, m.inside, m.end) for m in data.modules]
    assert rows == [
        ("", "(root)", 0, 1, 8, 6),
        ("blocks.2", "blocks.2", 1, 2, 2, 2),
        ("blocks.10", "blocks.10", 1, 2, 3, 4),
        ("blocks.10.lin", "lin", 2, 1, 1, 4),
        ("drop", "drop", 1, 0, 0, 5),
        ("head", "head", 1, 2, 2, 6),
    ]
    assert [m.parent for m in data.modules] == [-1, 0, 0, 2, 0, 0]
    assert data.modules[0].children == [1, 2, 4, 5]


def test_a_model_is_not_changed(model: Model) -> None:
    before = [module.path for module in model.modules], model.proto.SerializeToString(deterministic=True)
    view_data(model)
    assert before == ([module.path for module in model.modules], model.proto.SerializeToString(deterministic=True))


def test_values_flow_into_bodies_and_out_of_them(data: ViewData) -> None:
    at = names(data)
    flows = {(maker, reader): data.values[value].name for maker, reader, value in data.flows()}
    assert flows == {
        (at["k"], at["a"]): "K",
        (at["k"], at["b"]): "K",
        (at["a"], at["b"]): "a",
        (at["b"], at["lin"]): "b",
        (at["lin"], at["norm"]): "c",
        (at["norm"], at["neg"]): "s",
        (at["a"], at["abs"]): "a",
        (at["neg"], at["if"]): "y",
        (at["abs"], at["if"]): "z",
    }
    kinds = {value.name: value.kind for value in data.values if value.maker < 0}
    assert kinds == {"X": "input", "C": "input", "W": "weight"}
    types = {value.name: value.type for value in data.values if value.type}
    inferred = {"K": "float32[]", "b": "float32[N]", "c": "float32[N]"}
    assert types == dict.fromkeys("XYasyz", "float32[N]") | {"C": "bool[]", "W": "float32[1]"} | inferred


def test_readers_are_listed_once() -> None:
    data = view_data(make_model("g (float[N] X) => (float[N] Y) {\n [x] a = Relu (X)\n [y] Y = Mul (a, a)\n }"))
    assert readers(data)[data.nodes[0].outputs[0]] == [1]


def test_only_constants_are_constant(data: ViewData) -> None:
    assert [node.node.name for node in data.nodes if node.constant] == ["k"]
    folded = make_model("""
        g (float[2] X) => (float[2] Y) <float[2] W = {1, 2}> {
            [k] K = Constant <value_ints = [2]> ()
            [t] T = Transpose (W)
            [m] M = Mul (T, T)
            [r] R = RandomUniformLike (M)
            [n] S = RandomNormal <shape = [2]> ()
            [c] P = Mul (R, M)
            [y] Y = Mul (P, X)
        }
    """)
    assert [node.node.name for node in view_data(folded).nodes if node.constant] == ["k", "t", "m"]


def test_constants_are_found_in_any_order_of_nodes() -> None:
    make = onnx.helper.make_node
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy")
    nodes = [make("Add", ["b", "x"], ["y"]), make("Neg", ["a"], ["b"], name="b"), make("Abs", ["w"], ["a"], name="a")]
    weight = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [1], [1.0])
    proto = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [x], [y], [weight]))
    assert {n.node.name for n in view_data(from_proto(proto)).nodes if n.constant} <= {"a", "b"}


def test_parameters_are_the_tables_else_what_is_read(model: Model, data: ViewData) -> None:
    assert {m.path: m.parameters for m in data.modules if m.parameters} == {"blocks.10.lin": 1}
    model.modules["head"].parameters = 7
    assert {m.path: m.parameters for m in view_data(model).modules if m.parameters} == {"head": 7}


def test_a_selection_keeps_modules_of_selected_nodes_and_those_around(model: Model) -> None:
    data = view_data(model, only=select(model, ["op:Add"]).nodes)
    assert [(m.path, m.own) for m in data.modules] == [("", 0), ("blocks.10", 0), ("blocks.10.lin", 1)]
    assert [node.key for node in data.nodes] == ["lin"]
    assert data.total == 8
    assert {value.name: value.kind for value in data.values if value.maker < 0} == {"b": "outside", "W": "weight"}


@pytest.mark.parametrize(
    ("depth", "boxes", "edges"),
    [
        (0, ["(root)"], []),
        (1, ["(root)", "(own)", "blocks.2", "blocks.10", "head"], [
            ("blocks.2", "blocks.10"), ("blocks.10", "head"), ("blocks.2", "(own)"), ("(own)", "head"),
        ]),
        (2, ["(root)", "(own)", "blocks.2", "blocks.10", "(own)", "lin", "head"], [
            ("blocks.2", "blocks.10"), ("blocks.10", "head"), ("blocks.2", "(own)"), ("(own)", "head"),
            ("(own)", "lin"), ("lin", "(own)"),
        ]),
    ],
)  # fmt: skip
def test_module_graph_at_a_depth(data: ViewData, depth: int, boxes: list[str], edges: list[tuple[str, str]]) -> None:
    graph = module_graph(data, depth)

    def label(box: object) -> str:
        return "(own)" if box.own else box.module.name  # type: ignore[attr-defined]

    found, stack = [], [graph.root]
    while stack:
        box = stack.pop()
        found.append(label(box))
        stack.extend(reversed(box.boxes))
    assert sorted(found) == sorted(boxes)
    assert sorted((label(edge.source), label(edge.target)) for edge in graph.edges) == sorted(edges)
    assert all(edge.values == 1 and not edge.faint for edge in graph.edges)  # the shared constant draws none


def test_an_edge_that_many_read_is_faint() -> None:
    blocks = "\n".join(f"[n{i}] v{i} = Add (v{i - 1}, m)    # scope: b.{i}" for i in range(1, 10))
    first = "[mask] m = Exp (X)  # scope: mask\n v0 = Abs (X) # scope: b.0"
    text = f"g (float[N] X) => (float[N] v9) {{\n{first}\n{blocks}\n }}"
    edges = module_graph(view_data(make_model(text)), 1).edges
    assert {edge.faint for edge in edges if edge.source.module.path == "mask"} == {True}
    assert {edge.faint for edge in edges if edge.source.module.path != "mask"} == {False}
    assert len(edges) == 18
