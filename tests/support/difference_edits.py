"""Single edits of a tagged model, with what a difference must say of them and nothing else."""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Callable, Iterator

import onnx
from difference_forms import Graph, every_graph, inner_graphs
from onnx import helper, numpy_helper

from modelexport.analysis.difference import ModelDiff

Expected = dict[str, Counter[str]]  # what differs, by module; by "model:input" and the like for the model itself
UNARY = ("Relu", "Abs", "Neg", "Exp", "Sqrt", "Erf", "Tanh", "Sigmoid")
BINARY = ("Add", "Sub", "Mul", "Div")


def path_of(node: onnx.NodeProto) -> str:
    return next((entry.value for entry in node.metadata_props if entry.key == "htp.path"), "")


def told(found: ModelDiff) -> Expected:
    """What a difference says, in the form of ``edited``."""
    said: Expected = {}
    for module in found.modules:
        lists = {"added": module.added, "removed": module.removed, "changed": module.changed}
        lists |= {"weights": module.weights, "shapes": module.shapes}
        counts = Counter({kind: len(rows) for kind, rows in lists.items() if rows})
        if module.classes[0] != module.classes[1] and None not in module.classes:
            counts["class"] = 1
        if counts or module.status == "changed":  # a module that came or went with its only node says nothing new
            said[module.path] = counts
    for row in found.model:
        said.setdefault(f"model:{row.what}", Counter())[row.what] += 1
    return said


class Place:
    """One node of a model that is being edited."""

    def __init__(self, proto: onnx.ModelProto, graph: Graph, node: onnx.NodeProto, rng: random.Random) -> None:
        self.proto, self.graph, self.node, self.rng = proto, graph, node, rng
        self.path = path_of(node)

    def only(self, **counts: int) -> list[Expected]:
        return [{self.path: Counter(counts)}]

    def readers(self, value: str) -> list[tuple[onnx.NodeProto, int]]:
        """Who reads a value, bodies too."""
        return [
            (node, slot)
            for graph in every_graph(self.proto)
            for node in graph.node
            for slot, name in enumerate(node.input)
            if name == value
        ]

    def given_out(self, value: str) -> bool:
        return any(value == name for graph in every_graph(self.proto) for name in output_names(graph))

    def constants(self) -> dict[str, onnx.TensorProto]:
        """Initializers and tensors of Constant nodes, by the name of their value."""
        found: dict[str, onnx.TensorProto] = {}
        for graph in every_graph(self.proto):
            if isinstance(graph, onnx.GraphProto):
                found.update((tensor.name, tensor) for tensor in graph.initializer)
            for node in graph.node:
                if node.op_type == "Constant" and node.attribute[0].name == "value":
                    found[node.output[0]] = node.attribute[0].t
        return found

    def computed(self) -> dict[str, int]:
        """Values that nodes of this graph make, and where those stand."""
        nodes = enumerate(self.graph.node)
        return {value: at for at, node in nodes if node.op_type != "Constant" for value in node.output if value}


def output_names(graph: Graph) -> list[str]:
    return list(graph.output) if isinstance(graph, onnx.FunctionProto) else [value.name for value in graph.output]


def _attribute(place: Place) -> list[Expected] | None:
    kinds = onnx.AttributeProto
    plain = [a for a in place.node.attribute if a.type in (kinds.INT, kinds.FLOAT, kinds.INTS, kinds.STRING)]
    if not plain:
        return None
    chosen = place.rng.choice(plain)
    if chosen.type == kinds.INT:
        chosen.i += 1
    elif chosen.type == kinds.FLOAT:
        chosen.f += 1
    elif chosen.type == kinds.INTS:
        chosen.ints.append(1)
    else:
        chosen.s += b"!"
    return place.only(changed=1)


def _constant(place: Place, change: Callable[[onnx.TensorProto], onnx.TensorProto | None]) -> list[Expected] | None:
    known = place.constants()
    names = [name for name in place.node.input if name in known and known[name].data_type != onnx.TensorProto.STRING]
    if not names:
        return None
    name = place.rng.choice(names)
    made = change(known[name])
    if made is None:
        return None
    modules = {path_of(reader) for reader, _ in place.readers(name)}
    made.name = known[name].name
    known[name].CopyFrom(made)
    return [{path: Counter(weights=1)} for path in modules]  # said once, in one of them


def _weight(place: Place) -> list[Expected] | None:
    def change(tensor: onnx.TensorProto) -> onnx.TensorProto | None:
        array = numpy_helper.to_array(tensor).copy()
        if not array.size:
            return None
        flat = array.reshape(-1)
        at = place.rng.randrange(array.size)
        flat[at] = not flat[at] if array.dtype == bool else flat[at] + 1 if abs(float(flat[at])) < 60 else 0
        return numpy_helper.from_array(array)

    return _constant(place, change)


def _type(place: Place) -> list[Expected] | None:
    def change(tensor: onnx.TensorProto) -> onnx.TensorProto | None:
        array = numpy_helper.to_array(tensor)
        if place.rng.random() < 0.5:
            return numpy_helper.from_array(array[None])
        return numpy_helper.from_array(array.astype("float32" if array.dtype == "float64" else "float64"))

    return _constant(place, change)


def _insert(place: Place) -> list[Expected] | None:
    node = place.node
    value = place.rng.choice([name for name in node.output if name])
    readers = place.readers(value)
    if not readers or place.given_out(value):
        return None
    added = helper.make_node(place.rng.choice(UNARY), [value], [f"{value}_inserted"], "inserted")
    added.metadata_props.extend(node.metadata_props)
    for reader, slot in readers:
        reader.input[slot] = added.output[0]
    place.graph.node.insert(list(place.graph.node).index(node) + 1, added)
    return place.only(added=1)


def _remove(place: Place) -> list[Expected] | None:
    node = place.node
    value = node.output[0]
    given = [name for name in node.input if name]
    if len(node.output) != 1 or len(given) != 1 or place.given_out(value) or list(inner_graphs(node)):
        return None
    for reader, slot in place.readers(value):
        reader.input[slot] = given[0]
    expected = place.only(removed=1)
    place.graph.node.remove(node)
    return expected


def _operator(place: Place) -> list[Expected] | None:
    node = place.node
    for like in (UNARY, BINARY):
        if node.op_type in like:
            node.op_type = place.rng.choice([kind for kind in like if kind != node.op_type])
            return place.only(added=1, removed=1)
    return None


def _domain(place: Place) -> list[Expected] | None:
    if place.node.domain or list(inner_graphs(place.node)):
        return None
    place.node.domain = "com.example"
    return place.only(changed=1)


def _swap(place: Place) -> list[Expected] | None:
    node = place.node
    made = [slot for slot, name in enumerate(node.input) if name in place.computed()]
    if len({node.input[slot] for slot in made}) < 2:
        return None
    one, other = place.rng.sample(made, 2)
    alike = _colours(place)
    left, right = node.input[one], node.input[other]
    if alike[left] == alike[right]:
        return None  # the same model again
    node.input[one], node.input[other] = right, left
    return place.only(changed=1)


def _rewire(place: Place) -> list[Expected] | None:
    node, made = place.node, place.computed()
    at = list(place.graph.node).index(node)
    slots = [slot for slot, name in enumerate(node.input) if name in made]
    if not slots:
        return None
    slot = place.rng.choice(slots)
    alike = _colours(place)
    others = [value for value, where in made.items() if where < at and alike[value] != alike[node.input[slot]]]
    if not others:
        return None
    node.input[slot] = place.rng.choice(others)
    return place.only(changed=1)


def _colours(place: Place) -> dict[str, int]:
    """A number for every value of the graph, equal where both are computed alike in like modules."""
    known = {name: hash(_content(tensor)) for name, tensor in place.constants().items()}
    found: dict[str, int] = {}
    for node in place.graph.node:
        reads = [known.get(name) or found.get(name, name) for name in node.input]
        key = (path_of(node), node.op_type, *reads, *(a.SerializeToString() for a in node.attribute))
        found.update((value, hash((key, slot))) for slot, value in enumerate(node.output))
    return found


def _content(tensor: onnx.TensorProto) -> bytes:
    bare = copy.deepcopy(tensor)
    bare.name = ""
    return bare.SerializeToString()


def _move(place: Place) -> list[Expected] | None:
    """To a new module inside its own, or to that of another node, whose tag it takes."""
    others = [node for node in place.graph.node if path_of(node) != place.path]
    entries = {entry.key: entry for entry in place.node.metadata_props}
    if "htp.path" not in entries:
        return None
    if others and place.rng.random() < 0.5:
        given = {entry.key: entry.value for entry in place.rng.choice(others).metadata_props}
    else:
        given = {"htp.path": f"{place.path}.moved".removeprefix(".")}
    for key in ("htp.path", "htp.tag"):
        if key in given and key in entries:
            entries[key].value = given[key]
        elif key in entries:
            place.node.metadata_props.remove(entries[key])
    moved = path_of(place.node)
    return [{place.path: Counter(removed=1), moved: Counter(added=1)}] if moved != place.path else None


def _shape(place: Place) -> list[Expected] | None:
    if isinstance(place.graph, onnx.FunctionProto):
        return None
    for value in place.graph.value_info:
        dims = value.type.tensor_type.shape.dim
        if value.name in place.node.output and any(dim.dim_value for dim in dims):
            place.rng.choice([dim for dim in dims if dim.dim_value]).dim_value += 1
            return place.only(shapes=1)
    return None


def _opset(place: Place) -> list[Expected] | None:
    place.proto.opset_import.append(helper.make_opsetid("com.example.more", 1))
    return [{"model:opset": Counter(opset=1)}]


def _version(place: Place) -> list[Expected] | None:
    place.proto.ir_version += 1
    return [{"model:ir_version": Counter(ir_version=1)}]


def _input(place: Place) -> list[Expected] | None:
    value = place.rng.choice(place.proto.graph.input)
    value.type.tensor_type.shape.dim.add(dim_value=3)
    return [{"model:input": Counter(input=1)}]


def _output(place: Place) -> list[Expected] | None:
    if place.graph is not place.proto.graph or place.given_out(place.node.output[0]):
        return None
    value = place.node.output[0]
    place.proto.graph.output.append(onnx.ValueInfoProto(name=value))
    return [{"model:output": Counter(output=1)}]


EDITS: dict[str, Callable[[Place], list[Expected] | None]] = {
    "attribute": _attribute,
    "weight": _weight,
    "type": _type,
    "insert": _insert,
    "remove": _remove,
    "operator": _operator,
    "domain": _domain,
    "swap": _swap,
    "rewire": _rewire,
    "move": _move,
    "shape": _shape,
    "opset": _opset,
    "version": _version,
    "input": _input,
    "output": _output,
}


def edited(
    proto: onnx.ModelProto, kind: str, seed: int, inside: bool = False
) -> tuple[onnx.ModelProto, list[Expected]] | None:
    """A copy with one edit of some node, and what a difference may say of it; None where no node has such an edit.

    Args:
        inside: edit only nodes of bodies and functions.
    """
    result = copy.deepcopy(proto)
    rng = random.Random(f"{kind} {seed}")
    for place in _places(result, rng, inside):
        expected = EDITS[kind](place)
        if expected is not None:
            return result, expected
    return None


def _places(proto: onnx.ModelProto, rng: random.Random, inside: bool) -> Iterator[Place]:
    graphs = [graph for graph in every_graph(proto) if not inside or graph is not proto.graph]
    nodes = [(graph, node) for graph in graphs for node in graph.node if node.op_type != "Constant"]
    rng.shuffle(nodes)
    yield from (Place(proto, graph, node, rng) for graph, node in nodes)
