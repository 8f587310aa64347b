"""Attributes of two nodes, and how a value of one is told."""

from __future__ import annotations

import math
from typing import Any

import onnx

from modelexport.analysis.difference.captures import content, has_graph
from modelexport.analysis.difference.dtypes import dtype_text
from modelexport.ir.node import Node
from modelexport.ir.text import readable, text

_CUT = 200  # characters of a text that stands for a tensor or a graph


def attribute_changes(one: Node, other: Node) -> dict[str, tuple[Any, Any]]:
    """Attributes in which two nodes differ, with both values; bodies are compared as graphs."""
    left = {text(attribute.name): attribute for attribute in one.attribute_protos()}
    right = {text(attribute.name): attribute for attribute in other.attribute_protos()}
    found: dict[str, tuple[Any, Any]] = {}
    for name in dict.fromkeys((*left, *right)):
        x, y = left.get(name), right.get(name)
        if x is not None and y is not None and ((has_graph(x) and has_graph(y)) or content(x) == content(y)):
            continue
        found[readable(name)] = (attribute_value(x), attribute_value(y))
    return found


def attribute_value(attribute: onnx.AttributeProto | None) -> Any:
    """An attribute's value for JSON: numbers, texts and lists of them; tensors and graphs as a short text, and numbers
    that JSON has not (``nan``, ``inf``) as theirs."""
    if attribute is None:
        return None
    kinds = onnx.AttributeProto
    if attribute.ref_attr_name:
        return f"attribute {readable(text(attribute.ref_attr_name))}"
    if attribute.type == kinds.INT:
        return attribute.i
    if attribute.type == kinds.FLOAT:
        return _number(attribute.f)
    if attribute.type == kinds.STRING:
        return attribute.s.decode("utf-8", "backslashreplace")
    if attribute.type in (kinds.INTS, kinds.FLOATS):
        return list(attribute.ints) if attribute.type == kinds.INTS else [_number(value) for value in attribute.floats]
    if attribute.type == kinds.STRINGS:
        return [value.decode("utf-8", "backslashreplace") for value in attribute.strings]
    if attribute.type == kinds.TENSOR:
        return f"tensor {dtype_text(attribute.t.data_type)}{list(attribute.t.dims)}"
    if has_graph(attribute):
        graphs = [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
        return ", ".join(f"graph of {len(graph.node)} nodes" for graph in graphs)[:_CUT]
    return f"{kinds.AttributeType.Name(attribute.type).lower()}"


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
