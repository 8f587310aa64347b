"""The proto that is written: the source itself, or where structure was edited a copy with the edits in it.

In the copy only what was edited is replaced; everything this project does not manage stays by being copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx

from modelexport.ir.editing.edits import Edits
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.proto import surgeon, wire
from modelexport.ir.proto.building import body_protos
from modelexport.ir.proto.patches import apply_patches, patch_new
from modelexport.ir.proto.pieces import pieces
from modelexport.ir.scope import Scope
from modelexport.ir.text import text


def assemble(model: Model) -> onnx.ModelProto:
    """The proto of ``model`` as it is to be written; not to be edited.

    Metadata patches are in the source afterwards; the structure of the source is never changed.
    """
    apply_patches(model)
    spine = _edited(model)
    if not spine:
        return model.proto
    result = onnx.ModelProto()
    result.CopyFrom(model.proto)
    if model.main in spine:
        _rewrite(model.main, result.graph, spine)
    for graph, function in zip(model.functions, result.functions, strict=True):
        if graph in spine:
            _rewrite(graph, function, spine)
    _import_domains(model, result)
    return result


def assemble_pieces(model: Model) -> tuple[onnx.ModelProto, list[bytes]]:
    """The proto of ``model``, which may lack metadata of nodes that a pass added, and all bytes to write, in pieces.

    Raises:
        EncodeError, ValueError: the model is larger than the 2 GB that one protobuf file may have.
    """
    tails: dict[int, bytes] = {}
    if _edited(model):
        proto = assemble(model)
    else:
        proto = model.proto
        apply_patches(model, tails)
    found = pieces(proto, tails)
    if found is None:
        proto = assemble(model)
        found = [proto.SerializeToString(deterministic=True)]
    return proto, found


def _edited(model: Model) -> set[Scope]:
    """The graphs whose structure was edited, and those around them."""
    spine: set[Scope] = set()
    for graph in model.graphs():
        scope: Scope | None = graph if graph.edits is not None else None
        while scope is not None and scope not in spine:
            spine.add(scope)
            scope = scope.parent
    return spine


def _rewrite(graph: Scope, proto: onnx.GraphProto | onnx.FunctionProto, spine: set[Scope]) -> None:
    edits = graph.edits
    if edits is not None:
        nodes = [_node_proto(node, edits) for node in graph.nodes]
        del proto.node[:]
        proto.node.extend(nodes)
        if edits.renamed and isinstance(proto, onnx.GraphProto):
            _rename_graph(graph, proto, edits)
        elif isinstance(proto, onnx.FunctionProto):
            _rename_function(graph, proto)
        _keep_value_info(graph, proto, edits)
    for node_id, bodies in graph.bodies.items():
        if not spine.isdisjoint(bodies):
            node = graph.node(node_id)
            for body, body_proto in zip(bodies, _body_protos(proto.node[graph.position(node)]), strict=True):
                if body in spine:
                    _rewrite(body, body_proto, spine)


def _node_proto(node: Node, edits: Edits) -> onnx.NodeProto:
    source = node.proto
    if source is None:
        proto = surgeon.plain_node_proto(node.op_type, node.domain, node.name, node.inputs, node.outputs)
        patch_new(node, proto)
        return proto
    if node.id in edits.touched:
        same = tuple(map(text, source.input)) == node.inputs and tuple(map(text, source.output)) == node.outputs
        if not same:
            proto = onnx.NodeProto()
            proto.CopyFrom(source)
            surgeon.set_slots(proto, node.inputs, node.outputs)
            return proto
    return source


def _body_protos(proto: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [body for _, body in body_protos(proto)]


def _rename_graph(graph: Scope, proto: onnx.GraphProto, edits: Edits) -> None:
    tensors = [*proto.initializer, *(sparse.values for sparse in proto.sparse_initializer)]
    for messages, names in ((proto.input, graph.inputs), (proto.output, graph.outputs), (tensors, graph.initializers)):
        for message, name in zip(messages, names, strict=True):
            _set_string(message, "name", name)
    for annotation in proto.quantization_annotation:
        name = text(annotation.tensor_name)
        _set_string(annotation, "tensor_name", edits.renamed.get(name, name))
        for entry in annotation.quant_parameter_tensor_names:
            value = text(entry.value)
            if value in edits.renamed:
                wire.set_value(entry, edits.renamed[value])


def _rename_function(graph: Scope, proto: onnx.FunctionProto) -> None:
    for field, names in (("input", graph.inputs), ("output", graph.outputs)):
        if list(map(text, getattr(proto, field))) != names:
            proto.ClearField(field)
            proto.MergeFromString(wire.strings(proto.DESCRIPTOR.fields_by_name[field].number, names))


def _keep_value_info(graph: Scope, proto: onnx.GraphProto | onnx.FunctionProto, edits: Edits) -> None:
    """Rename value_info along, and drop what describes values that are gone."""
    if not (edits.removed or edits.renamed or edits.forgotten):
        return
    removed = {text(name) for node in edits.removed.values() if node is not None for name in node.output}
    gone = {name for name in removed if not graph.defines(edits.renamed.get(name, name))} | edits.forgotten
    kept: list[onnx.ValueInfoProto] = []
    for entry in proto.value_info:
        name = text(entry.name)
        if name not in gone:
            _set_string(entry, "name", edits.renamed.get(name, name))
            kept.append(entry)
    if len(kept) != len(proto.value_info):
        copies = onnx.GraphProto(value_info=kept)
        del proto.value_info[:]
        proto.value_info.extend(copies.value_info)


def _import_domains(model: Model, result: onnx.ModelProto) -> None:
    """Import the domains of new nodes that their function or the model does not import yet."""
    protos = {id(graph): proto for graph, proto in zip(model.functions, result.functions, strict=True)}
    for graph in model.graphs():
        if graph.edits is None:
            continue
        home = graph.home
        target: Any = protos.get(id(home), result)
        users = {node.domain: node for node in map(graph.node, reversed(graph.edits.order))}
        for domain, node in sorted(users.items()):
            if _imports(target.opset_import, domain) or (
                target is not result and not target.opset_import and _imports(result.opset_import, domain)
            ):
                continue
            version = surgeon.latest_version(domain, model.proto.ir_version)
            target.opset_import.add(domain=domain, version=version)
            message = f"{home.scope}: opset_import {domain or 'ai.onnx'} {version} is added for {node.op_type}"
            if message not in model.warnings:
                model.warnings.append(message)


def _imports(imports: Sequence[onnx.OperatorSetIdProto], domain: str) -> bool:
    names = ("", "ai.onnx") if domain in ("", "ai.onnx") else (domain,)
    return any(text(entry.domain) in names for entry in imports)


def _set_string(message: Any, field: str, value: str) -> None:
    if text(getattr(message, field)) != value:
        message.MergeFromString(wire.string(message.DESCRIPTOR.fields_by_name[field].number, value))
