"""Models with every name changed and every order shuffled, and single edits with what a difference must say of them."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable

import onnx
from onnx import helper, numpy_helper

Counts = dict[str, tuple[int, int, int, int]]  # nodes added, removed, changed and weights changed, by module


def scrambled(proto: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """The same model: other names but those of graph inputs and outputs, another order of nodes and initializers."""
    rng = random.Random(seed)
    result = copy.deepcopy(proto)
    graph = result.graph
    names = {value.name: value.name for value in (*graph.input, *graph.output)} | {"": ""}
    _rename(graph, names, rng)
    _shuffle(graph, rng)
    for index in reversed(range(len(result.metadata_props))):
        if result.metadata_props[index].key.startswith("htp.nodes"):
            del result.metadata_props[index]  # it finds nodes by their names
    return result


def _rename(graph: onnx.GraphProto, names: dict[str, str], rng: random.Random) -> None:
    def fresh(name: str) -> str:
        return names.setdefault(name, f"v{len(names)}_{rng.randrange(10**6)}")

    for node in graph.node:
        node.name = f"n{rng.randrange(10**9)}"
        node.input[:] = map(fresh, node.input)
        node.output[:] = map(fresh, node.output)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename(attribute.g, names, rng)
    for value in (*graph.initializer, *graph.value_info, *graph.input, *graph.output):
        value.name = fresh(value.name)


def _shuffle(graph: onnx.GraphProto, rng: random.Random) -> None:
    maker = {value: index for index, node in enumerate(graph.node) for value in node.output if value}
    before = {index: {maker[v] for v in _reads(node) if v in maker} for index, node in enumerate(graph.node)}
    order: list[int] = []
    while before:
        ready = [index for index, others in before.items() if not others & before.keys()]
        order.append(rng.choice(ready))
        del before[order[-1]]
    nodes = [copy.deepcopy(graph.node[index]) for index in order]
    del graph.node[:]
    graph.node.extend(nodes)
    weights = [copy.deepcopy(tensor) for tensor in graph.initializer]
    rng.shuffle(weights)
    del graph.initializer[:]
    graph.initializer.extend(weights)


def _reads(node: onnx.NodeProto) -> set[str]:
    found = set(node.input)
    for attribute in node.attribute:
        if attribute.HasField("g"):
            found |= {value.name for value in attribute.g.output}.union(*map(_reads, attribute.g.node))
    return found


def path_of(node: onnx.NodeProto) -> str:
    return next(entry.value for entry in node.metadata_props if entry.key == "htp.path")


def _readers(graph: onnx.GraphProto, value: str) -> list[tuple[onnx.NodeProto, int]]:
    return [(node, slot) for node in graph.node for slot, name in enumerate(node.input) if name == value]


def _attribute(graph: onnx.GraphProto, node: onnx.NodeProto) -> Counts | None:
    for attribute in node.attribute:
        if attribute.type == attribute.INT:
            attribute.i += 1
            return {path_of(node): (0, 0, 1, 0)}
        if attribute.type == attribute.FLOAT:
            attribute.f += 1
            return {path_of(node): (0, 0, 1, 0)}
    return None


def _weight(graph: onnx.GraphProto, node: onnx.NodeProto) -> Counts | None:
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    for name in node.input:
        if name in weights and len({path_of(reader) for reader, _ in _readers(graph, name)}) == 1:
            array = numpy_helper.to_array(weights[name]).copy()
            array.reshape(-1)[0] += 1
            weights[name].CopyFrom(numpy_helper.from_array(array, name))
            return {path_of(node): (0, 0, 0, 1)}
    return None


def _insert(graph: onnx.GraphProto, node: onnx.NodeProto) -> Counts | None:
    value = node.output[0]
    readers = _readers(graph, value)
    if not readers or value in {output.name for output in graph.output}:
        return None
    added = helper.make_node("Neg", [value], [f"{value}_inserted"], "inserted")
    added.metadata_props.extend(node.metadata_props)
    for reader, slot in readers:
        reader.input[slot] = added.output[0]
    graph.node.insert(list(graph.node).index(node) + 1, added)
    return {path_of(node): (1, 0, 0, 0)}


def _remove(graph: onnx.GraphProto, node: onnx.NodeProto) -> Counts | None:
    value = node.output[0]
    if len(node.output) != 1 or len(node.input) != 1 or value in {output.name for output in graph.output}:
        return None
    for reader, slot in _readers(graph, value):
        reader.input[slot] = node.input[0]
    path = path_of(node)
    graph.node.remove(node)
    return {path: (0, 1, 0, 0)}


def _operator(graph: onnx.GraphProto, node: onnx.NodeProto) -> Counts | None:
    others = {"Add": "Sub", "Mul": "Div", "Relu": "Abs", "Erf": "Tanh", "Sqrt": "Abs"}
    if node.op_type not in others:
        return None
    node.op_type = others[node.op_type]
    return {path_of(node): (1, 1, 0, 0)}


def _swap(graph: onnx.GraphProto, node: onnx.NodeProto) -> Counts | None:
    made = {value for one in graph.node if one.op_type != "Constant" for value in one.output}
    if len(node.input) != 2 or node.input[0] == node.input[1] or not made.issuperset(node.input):
        return None
    node.input[:] = [node.input[1], node.input[0]]
    return {path_of(node): (0, 0, 1, 0)}


def _rewire(graph: onnx.GraphProto, node: onnx.NodeProto) -> Counts | None:
    made = {value for one in graph.node if one.op_type != "Constant" for value in one.output}
    if len(node.input) != 2 or node.input[0] == node.input[1] or not made.issuperset(node.input):
        return None
    node.input[1] = node.input[0]
    return {path_of(node): (0, 0, 1, 0)}


def _move(graph: onnx.GraphProto, node: onnx.NodeProto) -> Counts | None:
    for entry in node.metadata_props:
        if entry.key == "htp.path":
            old, entry.value = entry.value, f"{entry.value}.moved".removeprefix(".")
            return {old: (0, 1, 0, 0), entry.value: (1, 0, 0, 0)}
    return None


EDITS: dict[str, Callable[[onnx.GraphProto, onnx.NodeProto], Counts | None]] = {
    "attribute": _attribute,
    "weight": _weight,
    "insert": _insert,
    "remove": _remove,
    "operator": _operator,
    "swap": _swap,
    "rewire": _rewire,
    "move": _move,
}


def edited(proto: onnx.ModelProto, kind: str, seed: int) -> tuple[onnx.ModelProto, Counts] | None:
    """A copy with one edit, in some node, and what a difference must find; None where the model has no such place."""
    result = copy.deepcopy(proto)
    nodes = [node for node in result.graph.node if node.op_type != "Constant"]
    random.Random(seed).shuffle(nodes)
    for node in nodes:
        expected = EDITS[kind](result.graph, node)
        if expected is not None:
            return result, expected
    return None
