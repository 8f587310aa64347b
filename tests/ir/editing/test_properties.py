"""Random edits of random models: indexes stay true, files read back equal, and undoing gives the original bytes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import loss_cases
import onnx
from corpus import serialized
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from onnx import helper

from modelexport.ir import Graph, Model, load_model
from modelexport.ir.errors import GraphError
from modelexport.ir.io.reader import from_proto
from modelexport.ir.io.writer import to_bytes
from modelexport.ir.verify import verify

SETTINGS = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking whole models takes minutes
)


@st.composite
def graphs(draw: st.DrawFn, prefix: str = "", outer: tuple[str, ...] = (), depth: int = 0) -> onnx.GraphProto:
    """A graph whose nodes read what is there, in file order or shuffled, some with bodies that capture."""
    inputs = [f"{prefix}x{index}" for index in range(0 if depth else 2)]
    weights = [f"{prefix}w{index}" for index in range(draw(st.integers(0, 1)))]
    values = [*outer, *inputs, *weights] or ["x0"]
    nodes = []
    for index in range(draw(st.integers(1, 5 if depth else 7))):
        read = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3))
        made = [f"{prefix}v{index}"] + ([f"{prefix}u{index}"] if draw(st.booleans()) else [])
        node = helper.make_node(draw(st.sampled_from(["Op", "Other"])), read, made, name=made[0], domain="acme")
        if depth < 2 and draw(st.integers(0, 4)) == 0:
            body = draw(graphs(f"{prefix}b{index}_", tuple(values), depth + 1))
            node.attribute.append(helper.make_attribute("body", body))
        node.metadata_props.add(key="uid", value=made[0])
        nodes.append(node)
        values += made
    outputs = draw(st.lists(st.sampled_from([name for node in nodes for name in node.output]), max_size=2, unique=True))
    if not depth and draw(st.integers(0, 3)) == 0:
        nodes = draw(st.permutations(nodes))
    graph = helper.make_graph(
        nodes,
        f"{prefix}g",
        [loss_cases.floats(name) for name in inputs],
        [loss_cases.floats(name) for name in outputs],
        [loss_cases.tensor(name, 1.0) for name in weights],
    )
    graph.value_info.extend(loss_cases.floats(name) for node in nodes for name in node.output)
    return graph


@st.composite
def protos(draw: st.DrawFn) -> onnx.ModelProto:
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("acme", 1)]
    return helper.make_model(draw(graphs()), opset_imports=imports, ir_version=8)


def structure(graph: Graph) -> object:
    """Everything the indexes say, by names and positions."""
    position = graph.position
    return {
        "nodes": [(node.op_type, node.name, node.inputs, node.outputs, set(node.captures)) for node in graph.nodes],
        "interface": (graph.inputs, graph.outputs, graph.initializers, graph.scope),
        "producers": {value: position(node) for value, node in graph.index.producers.items()},
        "readers": {value: [position(node) for node in graph.consumers(value)] for value in graph.index.consumers},
        "edges": sorted((position(graph.node(a)), position(graph.node(b))) for a, b in graph.nx.edges),
        "metadata": [dict(node.metadata) for node in graph.nodes],
    }


def edit(draw: st.DrawFn, model: Model, fresh: int) -> None:
    """One random edit; a refused one must leave everything as it was."""
    graph = draw(st.sampled_from(list(model.graphs())))
    kind = draw(st.sampled_from(["insert", "insert", "remove", "rename", "rewire", "rewire", "replace"]))
    if draw(st.booleans()):
        assert graph.nx is not None  # with the view built, and without
    before = [structure(each) for each in model.graphs()] if draw(st.integers(0, 3)) == 0 else None
    try:
        _apply(draw, model, graph, kind, fresh)
    except GraphError:
        if before is not None:
            assert [structure(each) for each in model.graphs()] == before


def _apply(draw: st.DrawFn, model: Model, graph: Graph, kind: str, fresh: int) -> None:
    nodes = list(graph.nodes)
    values = _values(graph)
    if kind == "insert" or not nodes:
        read = draw(st.lists(st.sampled_from(values), max_size=3)) if values else []
        graph.insert("New", read, [f"n{fresh}", f"m{fresh}"][: draw(st.integers(1, 2))], domain="acme")
        return
    node = draw(st.sampled_from(nodes))
    if kind == "remove":
        graph.remove(node)
    elif kind == "rewire" and node.inputs:
        slot = draw(st.integers(0, len(node.inputs) - 1))
        graph.rewire(node, slot, draw(st.sampled_from([*values, ""])))
    elif kind == "rename" and values:
        graph.rename_value(draw(st.sampled_from(values)), draw(st.sampled_from([f"r{fresh}", "x0", f"r{fresh - 1}"])))
    elif kind == "replace":
        needed = [value for value in node.outputs if value in graph.outputs or graph.consumers(value)]
        read = node.inputs if draw(st.booleans()) else draw(st.lists(st.sampled_from(values), max_size=2))
        made = [f"p{fresh}_{index}" for index in range(len(needed))]
        by = graph.insert("New", [value for value in read if value], made)
        try:
            graph.replace([node], by=by)
        except GraphError:
            graph.remove(by)
            raise


def _values(graph: Graph) -> list[str]:
    found: list[str] = []
    scope: Graph | None = graph
    while scope is not None:
        found += [*scope.inputs, *scope.initializers, *scope.index.producers]
        scope = scope.parent
    return list(dict.fromkeys(found))


@given(protos(), st.data())
@SETTINGS
def test_indexes_equal_those_of_the_written_file(proto: onnx.ModelProto, data: st.DataObject) -> None:
    source = serialized(proto)
    model = from_proto(proto)
    for fresh in range(data.draw(st.integers(1, 12))):
        edit(data.draw, model, fresh)
    assert list(verify(model)) == []
    again = load_model(to_bytes(model))
    assert [structure(graph) for graph in again.graphs()] == [structure(graph) for graph in model.graphs()]
    assert serialized(model.proto) == source


@given(protos(), st.data())
@SETTINGS
def test_taking_edits_back_gives_the_original_bytes(proto: onnx.ModelProto, data: st.DataObject) -> None:
    source = serialized(proto)
    model = from_proto(proto)
    undo: list[Callable[[], None]] = []
    for index in range(data.draw(st.integers(1, 8))):
        graph = data.draw(st.sampled_from([graph for graph in model.graphs() if len(graph)]))
        node = data.draw(st.sampled_from([node for node in graph.nodes if node.inputs]))
        slot = data.draw(st.integers(0, len(node.inputs) - 1))
        value = node.inputs[slot]
        new = graph.insert("Identity", [value], [f"i{index}"])
        undo.append(partial(graph.remove, new))
        graph.rewire(node, slot, f"i{index}")
        undo.append(partial(graph.rewire, node, slot, value))
        home = graph.find(value)
        if home is not None and data.draw(st.booleans()):
            home.rename_value(value, f"renamed{index}")
            undo.append(partial(home.rename_value, f"renamed{index}", value))
    to_bytes(model)
    for take_back in reversed(undo):
        take_back()
    assert to_bytes(model) == source
    assert list(verify(model)) == []
