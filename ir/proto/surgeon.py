"""New nodes as protos, through graphsurgeon's exporter: the only module that knows onnx_graphsurgeon.

What its exporter loses or breaks is kept from it: names are merged as wire bytes (it can't write names that are not
UTF-8), arrays are packed by onnx (it breaks 4-bit and FNUZ types), empty lists get their kind from the operator's
schema (it crashes), an AttributeProto is taken as it is, and no node is given a tensor or a domain table.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import EncodeError
from onnx import numpy_helper

from modelexport.ir.errors import GraphError
from modelexport.ir.operators import definition
from modelexport.ir.proto import wire
from modelexport.ir.scope import Scope
from modelexport.ir.text import shown, text

_FIELDS = onnx.NodeProto.DESCRIPTOR.fields_by_name
_INPUT, _OUTPUT, _NAME = (_FIELDS[field].number for field in ("input", "output", "name"))
_KINDS = onnx.AttributeProto
_UNKNOWN_LATEST = 1  # version under which a domain that onnx does not know is imported


def node_proto(
    graph: Scope,
    op_type: str,
    domain: str,
    name: str,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    attributes: Mapping[str, Any],
) -> onnx.NodeProto:
    """The proto of a new node. Raises GraphError for an attribute that has no ONNX form."""
    proto = plain_node_proto(op_type, domain, name, inputs, outputs)
    kinds = _attribute_kinds(op_type, domain, opset_version(graph, domain)) if attributes else {}
    for key, value in attributes.items():
        try:
            proto.attribute.append(_attribute(key, value, kinds.get(key)))
        except (ValueError, TypeError, AttributeError, KeyError, EncodeError) as error:
            raise GraphError(f"{op_type}: attribute {shown(key)!r} has no ONNX form: {error}") from error
    return proto


def plain_node_proto(
    op_type: str, domain: str, name: str, inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> onnx.NodeProto:
    """The proto of a node without attributes."""
    data = _template(op_type, domain) + wire.strings(_INPUT, inputs) + wire.strings(_OUTPUT, outputs)
    if name:
        data += wire.string(_NAME, name)
    proto: onnx.NodeProto = onnx.NodeProto.FromString(data)
    return proto


def set_slots(proto: onnx.NodeProto, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    """Give a node other inputs and outputs."""
    proto.ClearField("input")
    proto.ClearField("output")
    proto.MergeFromString(wire.strings(_INPUT, inputs) + wire.strings(_OUTPUT, outputs))


def opset_version(graph: Scope, domain: str) -> int | None:
    """Version of ``domain`` that a scope uses: its function's import, else the model's; None where there is none."""
    proto = graph.home.proto
    imports = [*proto.opset_import] if isinstance(proto, onnx.FunctionProto) else []
    for entry in (*imports, *graph.model.proto.opset_import):
        if text(entry.domain) in ((domain, "ai.onnx") if not domain else (domain,)):
            return int(entry.version)
    return None


def latest_version(domain: str, ir_version: int) -> int:
    """The version under which to import a domain that a model does not import yet."""
    domain = "ai.onnx" if domain in ("", "ai.onnx") else domain
    table = onnx.helper.OP_SET_ID_VERSION_MAP
    fitting = [version for (known, version), ir in table.items() if known == domain and ir <= max(ir_version, 3)]
    return max(fitting, default=_UNKNOWN_LATEST)


@cache
def _template(op_type: str, domain: str) -> bytes:
    import onnx_graphsurgeon  # type: ignore[import-untyped]
    from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter  # type: ignore[import-untyped]

    try:
        proto = OnnxExporter.export_node(onnx_graphsurgeon.Node(op=op_type, domain=domain or None))
    except (ValueError, TypeError) as error:
        raise GraphError(f"{shown(op_type)!r} is not an operator name: {error}") from error
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def _attribute(key: str, value: Any, kind: int | None) -> onnx.AttributeProto:
    proto = onnx.AttributeProto()
    if isinstance(value, onnx.AttributeProto):
        proto.CopyFrom(value)
        if text(proto.name) != key:
            proto.name = key
        return proto
    value = _prepared(value, kind)
    if isinstance(value, (list, tuple)) and not value:
        if kind is None:
            raise ValueError("an empty list of an unknown kind; give an AttributeProto")
        proto.name, proto.type = key, kind  # type: ignore[assignment]
        return proto
    from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter

    exported: onnx.AttributeProto = OnnxExporter.export_attributes({key: value})[0]
    return exported


def _prepared(value: Any, kind: int | None) -> Any:
    """A value as graphsurgeon and onnx write it correctly."""
    if isinstance(value, np.ndarray):
        if kind in (_KINDS.INTS, _KINDS.FLOATS):
            return _prepared(value.reshape(-1).tolist(), kind)
        return numpy_helper.from_array(value)
    if isinstance(value, str):
        return wire.encoded(value)
    if kind == _KINDS.FLOAT and not isinstance(value, float):
        return float(value)
    if isinstance(value, (list, tuple)):
        if kind == _KINDS.FLOATS:
            return [float(item) for item in value]
        return [_prepared(item, None) for item in value]
    return value


@cache
def _attribute_kinds(op_type: str, domain: str, version: int | None) -> dict[str, int]:
    schema = definition(op_type, domain, version or None)
    if schema is None:
        return {}
    return {name: int(attribute.type) for name, attribute in schema.attributes.items()}  # type: ignore[call-overload]
