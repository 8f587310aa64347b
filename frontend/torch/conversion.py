"""To an older opset than the dynamo exporter knows, without losing what the nodes say of themselves.

onnx's converter keeps node and value names and drops all metadata. Weights go around it, so that their size does not
matter.
"""

from __future__ import annotations

from typing import TypeVar

import onnx
from onnx import version_converter

from modelexport.frontend.torch.reasons import first_line
from modelexport.ir.errors import ExportError

Message = TypeVar("Message", onnx.TensorProto, onnx.AttributeProto)

SMALL = 1024  # elements; shapes and axes, which become attributes in older opsets, are smaller


def convert(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """``proto`` in ``opset``, with the metadata of its nodes, values and graph.

    Raises:
        ExportError: an operator has no equivalent there.
    """
    if proto.functions:
        raise ExportError(f"no conversion reaches opset {opset}: the graph has local functions")
    weights = _take_weights(proto.graph)
    aside = _set_aside(proto, opset)
    try:
        try:
            converted: onnx.ModelProto = version_converter.convert_version(proto, opset)
            _take_back(converted)
            _drop_defaults(converted.graph, opset)
            onnx.checker.check_model(converted)
        finally:
            _take_back(proto, aside)
            _give_weights(proto.graph, weights)
    except (RuntimeError, ValueError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"no conversion reaches opset {opset}: {first_line(error)}") from error
    reached = next((entry.version for entry in converted.opset_import if entry.domain == ""), 0)
    if reached != opset:
        raise ExportError(f"no conversion reaches opset {opset}: the converter stopped at {reached}")
    _give_weights(converted.graph, weights)
    _carry_metadata(proto, converted)
    return converted


Weights = list[tuple[onnx.TensorProto, onnx.ValueInfoProto]]


def _take_weights(graph: onnx.GraphProto) -> Weights:
    """Take large and external initializers out of the graph; inputs of their names stand in."""
    inputs = {value.name for value in graph.input}
    taken: Weights = []
    kept: list[onnx.TensorProto] = []
    for tensor in graph.initializer:
        size = 1
        for dim in tensor.dims:
            size *= dim
        if (size > SMALL or tensor.data_location == onnx.TensorProto.EXTERNAL) and tensor.name not in inputs:
            stand_in = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            taken.append((tensor, stand_in))
        else:
            kept.append(tensor)
    if taken:
        order = [tensor.name for tensor in graph.initializer]
        taken = [(_copy(tensor), stand_in) for tensor, stand_in in taken]
        kept = [_copy(tensor) for tensor in kept]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        graph.input.extend(stand_in for _, stand_in in taken)
        position = {name: index for index, name in enumerate(order)}
        taken.sort(key=lambda pair: position[pair[0].name])
    return taken


def _copy(message: Message) -> Message:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _give_weights(graph: onnx.GraphProto, weights: Weights) -> None:
    names = {tensor.name for tensor, _ in weights}
    if not names:
        return
    inputs = [value for value in graph.input if value.name not in names]
    small = list(graph.initializer)
    del graph.input[:]
    graph.input.extend(inputs)
    del graph.initializer[:]
    graph.initializer.extend(tensor for tensor, _ in weights)
    graph.initializer.extend(small)


ASIDE = "modelexport.aside"  # a domain that the converter leaves alone
Aside = list[tuple[onnx.NodeProto, list[onnx.AttributeProto]]]


def _set_aside(proto: onnx.ModelProto, opset: int) -> Aside:
    """Hide from the converter what needs no conversion though it has no adapter for it: a Split into equal parts."""
    if opset < 13:
        return []
    graph = proto.graph
    shapes = {
        value.name: [dim.dim_value if dim.HasField("dim_value") else 0 for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    hidden: Aside = []
    for node in graph.node:
        if node.op_type == "Split" and node.domain in ("", "ai.onnx") and _splits_alike(node, shapes):
            hidden.append((node, [_copy(attribute) for attribute in node.attribute]))
            kept = [attribute for attribute in node.attribute if attribute.name != "num_outputs"]
            del node.attribute[:]
            node.attribute.extend(kept)
            node.domain = ASIDE
    if hidden:
        proto.opset_import.add(domain=ASIDE, version=1)
    return hidden


def _splits_alike(node: onnx.NodeProto, shapes: dict[str, list[int]]) -> bool:
    """Whether the Split means the same without ``num_outputs``."""
    if len(node.input) > 1 and node.input[1]:
        return True
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    shape = shapes.get(node.input[0], [])
    size = shape[axis] if -len(shape) <= axis < len(shape) else 0
    return size > 0 and size % len(node.output) == 0


def _take_back(proto: onnx.ModelProto, hidden: Aside | None = None) -> None:
    """Undo ``_set_aside``; the attributes come back only where ``hidden`` has them."""
    for node in proto.graph.node:
        if node.domain == ASIDE:
            node.domain = ""
    known = [entry for entry in proto.opset_import if entry.domain != ASIDE]
    if len(known) != len(proto.opset_import):
        kept = [(entry.domain, entry.version) for entry in known]
        del proto.opset_import[:]
        for domain, version in kept:
            proto.opset_import.add(domain=domain, version=version)
    for node, attributes in hidden or ():
        del node.attribute[:]
        node.attribute.extend(attributes)


def _drop_defaults(graph: onnx.GraphProto, opset: int) -> None:
    """Remove attributes that say nothing and that ``opset`` does not know; the converter leaves them in."""
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _drop_defaults(attribute.g, opset)
        if node.domain not in ("", "ai.onnx") or not onnx.defs.has(node.op_type):
            continue
        try:
            known = onnx.defs.get_schema(node.op_type, opset, "").attributes
        except onnx.defs.SchemaError:
            continue
        kept = [each for each in node.attribute if each.name in known or not _says_nothing(node, each)]
        if len(kept) != len(node.attribute):
            del node.attribute[:]
            node.attribute.extend(kept)


def _says_nothing(node: onnx.NodeProto, attribute: onnx.AttributeProto) -> bool:
    if attribute.name == "noop_with_empty_axes":  # matters only where there are no axes
        return attribute.i == 0 or any(each.name == "axes" and each.ints for each in node.attribute)
    default = onnx.defs.get_schema(node.op_type).attributes.get(attribute.name)
    if default is None or not default.default_value.name:
        return False
    return bool(onnx.helper.get_attribute_value(attribute) == onnx.helper.get_attribute_value(default.default_value))


def _carry_metadata(source: onnx.ModelProto, target: onnx.ModelProto) -> None:
    """Metadata by node name and first output, by value name, and of the graph and the model."""
    by_name = {node.name: node for node in source.graph.node if node.name}
    by_output = {node.output[0]: node for node in source.graph.node if node.output}
    for node in target.graph.node:
        twin = by_name.get(node.name) or (by_output.get(node.output[0]) if node.output else None)
        if twin is not None and not node.metadata_props:
            node.metadata_props.extend(twin.metadata_props)
            node.doc_string = node.doc_string or twin.doc_string
            _carry_into_bodies(twin, node)
    values = {value.name: value for value in source.graph.value_info}
    for value in target.graph.value_info:
        known = values.get(value.name)
        if known is not None and not value.metadata_props:
            value.metadata_props.extend(known.metadata_props)
    for old, new in ((source.graph, target.graph), (source, target)):
        if not new.metadata_props:
            new.metadata_props.extend(old.metadata_props)
    target.producer_name, target.producer_version = source.producer_name, source.producer_version


def _carry_into_bodies(source: onnx.NodeProto, target: onnx.NodeProto) -> None:
    bodies = {each.name: each.g for each in source.attribute if each.type == onnx.AttributeProto.GRAPH}
    for attribute in target.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH and attribute.name in bodies:
            wrapped, twin = onnx.ModelProto(), onnx.ModelProto()
            wrapped.graph.CopyFrom(attribute.g)
            twin.graph.CopyFrom(bodies[attribute.name])
            _carry_metadata(twin, wrapped)
            attribute.g.CopyFrom(wrapped.graph)
