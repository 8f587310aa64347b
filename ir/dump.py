"""A model as text for people: scopes, nodes and what is known of where they are from. It is not read back."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from modelexport.ir.attribution import Attribution
from modelexport.ir.graph import Graph
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.text import shown, text

_KINDS = onnx.AttributeProto
_LIST_SHOWN = 8
_TEXT_SHOWN = 40


def dump(model: Model) -> str:
    """The whole text; see :func:`dump_lines`."""
    return "\n".join(dump_lines(model)) + "\n"


def dump_lines(model: Model) -> Iterator[str]:
    """One line per scope, node and attribution-relevant fact, in file order.

    A node is ``outputs = domain.Operator{attributes}(inputs)``, then after ``#`` its path in quotes, source, rule and
    confidence, or ``-`` where nothing is known.
    """
    proto = model.proto
    opsets = " ".join(f"{text(entry.domain) or 'ai.onnx'}={entry.version}" for entry in proto.opset_import)
    yield f"model ir_version={proto.ir_version} {shown(opsets)}".rstrip()
    for key, value in model.metadata.items():
        yield f"  {shown(key)}: {_short(shown(value))}"
    for graph in model.graphs():
        yield ""
        yield from _graph(graph)


def _graph(graph: Graph) -> Iterator[str]:
    yield f"{shown(graph.scope)} {shown(graph.name)!r} ({_names(graph.inputs)}) -> ({_names(graph.outputs)})"
    if isinstance(graph.proto, onnx.GraphProto):
        tensors = [*graph.proto.initializer, *(sparse.values for sparse in graph.proto.sparse_initializer)]
        for name, tensor in zip(graph.initializers, tensors, strict=True):
            yield f"  {shown(name)}: {_tensor(tensor)}"
    left = [_call(node) for node in graph.nodes]
    width = min(max(map(len, left), default=0), 100)
    for call, node in zip(left, graph.nodes, strict=True):
        name = f" {shown(node.name)!r}" if node.name else ""
        yield f"  {call:<{width}}  # {_attribution(node.attribution)}{name}"


def _call(node: Node) -> str:
    operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    if node.overload:
        operator += f":{node.overload}"
    attributes = ", ".join(_attribute(attribute) for attribute in node.attribute_protos())
    braces = f"{{{attributes}}}" if attributes else ""
    return f"{_names(node.outputs)} = {shown(operator)}{braces}({_names(node.inputs)})"


def _names(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(shown(name) or "-" for name in names)


def _attribution(attribution: Attribution | None) -> str:
    if attribution is None:
        return "-"
    return f'"{shown(attribution.path)}" {attribution.source}/{attribution.rule} {attribution.confidence:.2f}'


def _attribute(attribute: onnx.AttributeProto) -> str:
    return f"{shown(text(attribute.name))}={_value(attribute)}"


def _value(attribute: onnx.AttributeProto) -> str:
    kind = attribute.type
    if attribute.ref_attr_name:
        return f"@{shown(text(attribute.ref_attr_name))}"
    if kind == _KINDS.INT:
        return str(attribute.i)
    if kind == _KINDS.FLOAT:
        return f"{attribute.f:g}"
    if kind == _KINDS.STRING:
        return repr(_short(shown(text(attribute.s))))
    if kind == _KINDS.TENSOR:
        return _tensor(attribute.t)
    if kind == _KINDS.INTS:
        return _list([str(item) for item in attribute.ints])
    if kind == _KINDS.FLOATS:
        return _list([f"{item:g}" for item in attribute.floats])
    if kind == _KINDS.STRINGS:
        return _list([repr(_short(shown(text(item)))) for item in attribute.strings])
    if kind in _KINDS.AttributeType.values():
        return f"<{_KINDS.AttributeType.Name(kind).lower()}>"
    return f"<kind {kind}>"


def _list(items: list[str]) -> str:
    more = f", ... {len(items)} in all" if len(items) > _LIST_SHOWN else ""
    return f"[{', '.join(items[:_LIST_SHOWN])}{more}]"


def _tensor(tensor: onnx.TensorProto) -> str:
    known = tensor.data_type in onnx.TensorProto.DataType.values()
    dtype = onnx.TensorProto.DataType.Name(tensor.data_type).lower() if known else f"type{tensor.data_type}"
    place = " external" if tensor.data_location == onnx.TensorProto.EXTERNAL else ""
    return f"{dtype}[{','.join(map(str, tensor.dims))}]{place}"


def _short(value: str) -> str:
    return value if len(value) <= _TEXT_SHOWN else f"{value[:_TEXT_SHOWN]}... {len(value)} characters"
