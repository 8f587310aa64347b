"""Attributes of nodes as short text."""

from __future__ import annotations

import onnx

from modelexport.ir.errors import InputError
from modelexport.ir.io.weights import EXTERNAL, Weights
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.text import readable, text
from modelexport.views.values import tensor_type, type_text

LONGEST = 200
_KINDS = onnx.AttributeProto
_ELEMENTS_SHOWN = 8


class AttributeTexts:
    """Makes the texts of one model's attributes; equal attributes of different nodes share one text."""

    def __init__(self, model: Model) -> None:
        self._weights = Weights(model)
        self._known: dict[bytes, tuple[str, str]] = {}

    def of(self, node: Node) -> tuple[tuple[str, str], ...]:
        """Name and text of every attribute, in file order; texts are cut at 200 characters."""
        if node.proto is None or not node.proto.attribute:
            return ()
        return tuple([self._one(attribute) for attribute in node.proto.attribute])

    def _one(self, attribute: onnx.AttributeProto) -> tuple[str, str]:
        if attribute.type in (_KINDS.INT, _KINDS.INTS, _KINDS.FLOAT, _KINDS.STRING):
            spelled = attribute.SerializeToString()
            known = self._known.get(spelled)
            if known is None:
                known = self._known[spelled] = (readable(text(attribute.name)), cut(self._value(attribute)))
            return known
        return readable(text(attribute.name)), cut(self._value(attribute))

    def _value(self, attribute: onnx.AttributeProto) -> str:
        kind = attribute.type
        if attribute.ref_attr_name:
            return f"@{readable(text(attribute.ref_attr_name))}"
        if kind == _KINDS.INT:
            return str(attribute.i)
        if kind == _KINDS.FLOAT:
            return f"{attribute.f:.7g}"
        if kind == _KINDS.STRING:
            return readable(text(attribute.s[: LONGEST + 1]))
        if kind == _KINDS.INTS:
            return _listed([str(item) for item in attribute.ints[:LONGEST]])
        if kind == _KINDS.FLOATS:
            return _listed([f"{item:.7g}" for item in attribute.floats[:LONGEST]])
        if kind == _KINDS.STRINGS:
            return _listed([repr(readable(text(item))) for item in attribute.strings[:LONGEST]])
        if kind == _KINDS.TENSOR:
            return self._tensor(attribute.t)
        if kind == _KINDS.SPARSE_TENSOR:
            return f"sparse {tensor_type(attribute.sparse_tensor.values)}"
        if kind == _KINDS.GRAPH:
            return _graph(attribute.g)
        if kind == _KINDS.TYPE_PROTO:
            return readable(type_text(attribute.tp))
        if kind == _KINDS.TENSORS:
            return _listed([tensor_type(tensor) for tensor in attribute.tensors[:LONGEST]])
        if kind == _KINDS.GRAPHS:
            return _listed([_graph(graph) for graph in attribute.graphs[:LONGEST]])
        return f"kind {kind}"

    def _tensor(self, tensor: onnx.TensorProto) -> str:
        described = tensor_type(tensor)
        elements = 1
        for size in tensor.dims:
            elements *= size
        if not 0 < elements <= _ELEMENTS_SHOWN or tensor.data_location == EXTERNAL:
            return described
        try:
            values = self._weights.array(tensor).reshape(-1).tolist()
        except InputError:  # damaged data: the type is all that can be said
            return described
        if tensor.data_type == onnx.TensorProto.STRING:
            spelled = [repr(readable(text(value))) for value in values]
        else:
            spelled = [f"{value:.7g}" if isinstance(value, float) else str(value) for value in values]
        return f"{described} = {', '.join(spelled)}"


def cut(value: str) -> str:
    """At most 200 characters of a text, with an ellipsis where it was longer."""
    return value if len(value) <= LONGEST else value[: LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _listed(items: list[str]) -> str:
    return f"[{', '.join(items)}]"


def _graph(graph: onnx.GraphProto) -> str:
    return f"graph {readable(text(graph.name))} of {len(graph.node)} nodes"
