"""A model restricted to a set of nodes of its main graph: the one structural edit, lossless for what is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

import onnx

from modelexport.ir.graph import Graph
from modelexport.ir.io.overlay import assemble
from modelexport.ir.io.reader import from_proto
from modelexport.ir.model import Model
from modelexport.ir.modules import ModuleTable
from modelexport.ir.node import Node
from modelexport.ir.proto.building import body_protos
from modelexport.ir.text import text

_REPLACED = ("graph", "functions", "opset_import", "training_info")


def restrict(
    model: Model,
    nodes: Collection[Node],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    *,
    below: Iterable[str] = (),
) -> Model:
    """A new model of ``nodes`` alone. ``model`` is not changed.

    Kept as they are: names, attributes, metadata and attributions of the nodes, the initializers they read, the
    functions they call (also in bodies, and those these call), the opset imports of all of these, value descriptions,
    the model's own fields and metadata. External data stays where it is; :func:`modelexport.ir.save_model` copies the
    part that is used.

    Args:
        nodes: nodes of the main graph.
        inputs, outputs: the boundary, in the order that the new graph gets.
        below: modules whose rows in the table are kept with all rows below them; rows of the nodes' own modules and of
            what lies above are kept in any case.
    """
    source = assemble(model)
    kept = [node for node in model.main.nodes if node in nodes]
    positions = [model.main.position(node) for node in kept]
    proto = onnx.ModelProto()
    for field, value in source.ListFields():
        if field.name not in _REPLACED:
            _copy_field(proto, field.name, value)
    graph = proto.graph
    for field, value in source.graph.ListFields():
        if field.name in ("name", "doc_string", "metadata_props"):
            _copy_field(graph, field.name, value)
    graph.node.extend(source.graph.node[position] for position in positions)
    graph.input.extend(inputs)
    graph.output.extend(outputs)
    _keep_values(model.main, kept, source.graph, graph)
    used = _called_functions(model, kept)
    proto.functions.extend(
        function for home, function in zip(model.functions, source.functions, strict=True) if home in used
    )
    _keep_imports(source, proto)
    piece = from_proto(proto, path=model.path)
    piece.gathers_data, piece.data_home = True, model.data_home
    _copy_attributions(kept, piece.main.nodes)
    homes = {home.scope: home for home in model.functions}
    for home in piece.functions:
        _copy_attributions(homes[home.scope].nodes, home.nodes)
    piece.modules = _rows(model, piece, tuple(below))
    return piece


def _copy_field(target: onnx.ModelProto | onnx.GraphProto, name: str, value: object) -> None:
    if isinstance(value, str | bytes | int | float):
        setattr(target, name, value)
    elif hasattr(value, "CopyFrom"):
        getattr(target, name).CopyFrom(value)
    else:
        getattr(target, name).extend(value)


def _keep_values(home: Graph, kept: Sequence[Node], source: onnx.GraphProto, graph: onnx.GraphProto) -> None:
    """Initializers that are read or are outputs, and descriptions of values that are made here."""
    made = {value for node in kept for value in node.outputs if value}
    read = {value for node in kept for value in (*node.inputs, *node.captures)}
    read |= {text(output.name) for output in graph.output} - made
    graph.initializer.extend(tensor for tensor in source.initializer if text(tensor.name) in read)
    graph.sparse_initializer.extend(t for t in source.sparse_initializer if text(t.values.name) in read)
    boundary = {text(value.name) for value in (*graph.input, *graph.output)}
    here = (made | read) - boundary
    graph.value_info.extend(entry for entry in source.value_info if text(entry.name) in here)
    described = here | boundary
    graph.quantization_annotation.extend(a for a in source.quantization_annotation if text(a.tensor_name) in described)


def _called_functions(model: Model, nodes: Iterable[Node]) -> set[Graph]:
    used: set[Graph] = set()
    waiting = list(_deep(nodes))
    while waiting:
        node = waiting.pop()
        function = model.function(node.domain, node.op_type, node.overload)
        if function is not None and function not in used:
            used.add(function)
            waiting.extend(_deep(function.nodes))
    return used


def _deep(nodes: Iterable[Node]) -> Iterator[Node]:
    stack = list(nodes)
    while stack:
        node = stack.pop()
        yield node
        for body in node.bodies:
            stack.extend(body.nodes)


def _keep_imports(source: onnx.ModelProto, proto: onnx.ModelProto) -> None:
    domains = {_domain(text(node.domain)) for node in _deep_protos(proto.graph.node)}
    domains |= {_domain(text(function.domain)) for function in proto.functions}
    for function in proto.functions:
        if not function.opset_import:  # such a function goes by the imports of the model
            domains |= {_domain(text(node.domain)) for node in _deep_protos(function.node)}
    imports = [entry for entry in source.opset_import if _domain(text(entry.domain)) in domains]
    proto.opset_import.extend(imports or source.opset_import[:1])


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _deep_protos(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    stack = list(nodes)
    while stack:
        node = stack.pop()
        yield node
        for _, body in body_protos(node):
            stack.extend(body.node)


def _copy_attributions(sources: Iterable[Node], targets: Iterable[Node]) -> None:
    pairs = [(sources, targets)]
    while pairs:
        for source, target in zip(*pairs.pop(), strict=True):
            for attribution in source.history:
                target.attribute_to(attribution)
            pairs.extend((a.nodes, b.nodes) for a, b in zip(source.bodies, target.bodies, strict=True))


def _rows(model: Model, piece: Model, below: Sequence[str]) -> ModuleTable:
    """Rows of the modules that the piece's nodes are from, of all above them, and of all at or below ``below``."""
    wanted = {node.attribution.path for node in piece.nodes() if node.attribution is not None}
    wanted |= {module.path for module in model.modules if any(is_inside(module.path, path) for path in below)}
    for path in list(wanted):
        while path:
            path = path.rpartition(".")[0]
            wanted.add(path)
    tags = model.modules.tags()
    # A tag is relative to what stands beside its module: it is kept as it was spelled in the whole.
    return ModuleTable(replace(module, tag=tags[module.path]) for module in model.modules if module.path in wanted)


def is_inside(path: str, module: str) -> bool:
    """Whether ``path`` is ``module`` or lies below it, by whole segments; everything is inside the root ``""``."""
    return not module or path == module or path.startswith(f"{module}.")
