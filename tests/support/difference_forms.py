"""The same model in another form: all names changed and every order shuffled, parts in bodies, parts in functions."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator

import onnx
from onnx import TensorProto, helper

Graph = onnx.GraphProto | onnx.FunctionProto


def inner_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Bodies of one node."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def every_graph(proto: onnx.ModelProto) -> Iterator[Graph]:
    """The main graph, the local functions, and all bodies."""
    waiting: list[Graph] = [proto.graph, *proto.functions]
    for graph in waiting:
        yield graph
        waiting.extend(body for node in graph.node for body in inner_graphs(node))


def scrambled(proto: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """The same model: other names but those of inputs and outputs, another order of nodes and initializers.

    Every second Constant node of the main graph becomes an initializer.
    """
    rng = random.Random(seed)
    result = copy.deepcopy(proto)
    graph = result.graph
    _loosen(graph, rng)
    names = {value.name: value.name for value in (*graph.input, *graph.output)} | {"": ""}
    _rename(graph, names, rng)
    for function in result.functions:
        _rename(function, {"": ""}, rng)
    for each in every_graph(result):
        _shuffle(each, rng)
    return forgetful(result)


def forgetful(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model without the table that finds nodes by their names; tags stay at the nodes."""
    for index in reversed(range(len(proto.metadata_props))):
        if proto.metadata_props[index].key.startswith("htp.nodes"):
            del proto.metadata_props[index]
    return proto


def _loosen(graph: onnx.GraphProto, rng: random.Random) -> None:
    given_out = {value.name for value in graph.output}
    for node in list(graph.node):
        loose = node.op_type == "Constant" and node.attribute[0].name == "value" and node.output[0] not in given_out
        if loose and rng.random() < 0.5:
            tensor = graph.initializer.add()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
            graph.node.remove(node)


def _rename(graph: Graph, names: dict[str, str], rng: random.Random) -> None:
    def fresh(name: str) -> str:
        return names.setdefault(name, f"v{len(names)}_{rng.randrange(10**6)}")

    for node in graph.node:
        node.name = f"n{rng.randrange(10**9)}"
        node.input[:] = map(fresh, node.input)
        node.output[:] = map(fresh, node.output)
        for body in inner_graphs(node):
            _rename(body, names, rng)
    if isinstance(graph, onnx.FunctionProto):
        graph.input[:] = map(fresh, graph.input)
        graph.output[:] = map(fresh, graph.output)
    else:
        for value in (*graph.initializer, *graph.value_info, *graph.input, *graph.output):
            value.name = fresh(value.name)


def _shuffle(graph: Graph, rng: random.Random) -> None:
    maker = {value: index for index, node in enumerate(graph.node) for value in node.output if value}
    before = {index: {maker[v] for v in _reads(node) if v in maker} for index, node in enumerate(graph.node)}
    after: dict[int, list[int]] = {index: [] for index in before}
    for index, others in before.items():
        for other in others:
            after[other].append(index)
    ready = [index for index, others in before.items() if not others]
    order: list[int] = []
    while ready:
        at = ready.pop(rng.randrange(len(ready)))
        order.append(at)
        for reader in after[at]:
            before[reader].discard(at)
            if not before[reader]:
                ready.append(reader)
    nodes = [copy.deepcopy(graph.node[index]) for index in order]
    assert len(nodes) == len(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)
    if isinstance(graph, onnx.GraphProto):
        weights = [copy.deepcopy(tensor) for tensor in graph.initializer]
        rng.shuffle(weights)
        del graph.initializer[:]
        graph.initializer.extend(weights)


def _reads(node: onnx.NodeProto) -> set[str]:
    found = set(node.input)
    for body in inner_graphs(node):
        found |= {value.name for value in body.output}.union(*map(_reads, body.node))
    return found


def in_bodies(proto: onnx.ModelProto, runs: int = 3, length: int = 12) -> onnx.ModelProto:
    """The same model with some runs of its nodes in the branches of an If, each branch with its own copy."""
    result = copy.deepcopy(proto)
    result.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    for number, start in enumerate(_starts(result.graph, runs, length)):
        nodes = [result.graph.node[at] for at in range(start, start + length)]
        _, given = _boundary(result.graph, nodes)
        branches = []
        for branch in ("then", "else"):
            inner = {value: f"{value}_{branch}{number}" for node in nodes for value in node.output if value}
            copies = [copy.deepcopy(node) for node in nodes]
            for node in copies:
                node.name = f"{node.name}_{branch}" if node.name else ""
                node.input[:] = [inner.get(name, name) for name in node.input]
                node.output[:] = [inner.get(name, name) for name in node.output]
            outputs = [onnx.ValueInfoProto(name=inner[value]) for value in given]
            branches.append(helper.make_graph(copies, branch, [], outputs))
        made = helper.make_node(
            "If", ["yes"], given, f"if{number}", then_branch=branches[0], else_branch=branches[1]
        )  # fmt: skip
        _replace(result.graph, start, length, made)
    return result


def in_functions(proto: onnx.ModelProto, runs: int = 3, length: int = 12) -> onnx.ModelProto:
    """The same model with some runs of its nodes in local functions."""
    result = copy.deepcopy(proto)
    for number, start in enumerate(_starts(result.graph, runs, length)):
        nodes = [result.graph.node[at] for at in range(start, start + length)]
        read, given = _boundary(result.graph, nodes)
        result.functions.append(
            helper.make_function("com.parts", f"Part{number}", read, given, nodes, list(proto.opset_import))
        )
        made = helper.make_node(f"Part{number}", read, given, f"part{number}", domain="com.parts")
        _replace(result.graph, start, length, made)
    result.opset_import.append(helper.make_opsetid("com.parts", 1))
    return result


def _starts(graph: onnx.GraphProto, runs: int, length: int) -> list[int]:
    """Where to cut, from the end of the graph to its start, so that earlier places stay what they are."""
    step = max((len(graph.node) - length) // runs, length)
    return list(range(0, len(graph.node) - length, step))[:runs][::-1]


def _boundary(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> tuple[list[str], list[str]]:
    """Values that a run of nodes reads from outside, and those of its own that are read outside."""
    made = {value for node in nodes for value in node.output if value}
    own = {id(node) for node in nodes}
    read = sorted(set().union(*map(_reads, nodes)) - made - {""})
    outside = {value.name for value in graph.output}.union(
        *(_reads(node) for node in graph.node if id(node) not in own)
    )
    return read, [value for node in nodes for value in node.output if value in outside]


def _replace(graph: onnx.GraphProto, start: int, length: int, made: onnx.NodeProto) -> None:
    after = [copy.deepcopy(node) for node in graph.node[start + length :]]
    del graph.node[start:]
    graph.node.extend([made, *after])
