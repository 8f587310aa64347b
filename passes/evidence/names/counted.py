"""Dotted names that name no parameter: those a converter counts up, and those of shapes and axes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, cached_property

import onnx
import onnx.defs

from modelexport.ir.graph import Graph
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.passes.evidence.names.slots import CONTROLLED, controls

_GLANCE = 64  # elements that are compared before all are
_FLOATS = frozenset((1, 10, 11, 16))  # ONNX's numbers of the float types


class Counted:
    """The families of counted names in one file: ``p2o.pd_op.add.3.0``, ``helper.constant.7``, ``auto.cast.2``.

    Such a name ends in a number, and either values that nodes compute are named likewise, or an operator comes before
    the number.
    """

    def __init__(self, model: Model) -> None:
        self._model = model

    @cached_property
    def _first(self) -> frozenset[str]:
        """What such names of computed values begin with; looked up for the first name that ends like one of them."""
        return frozenset(
            value.partition(".")[0]
            for node in self._model.nodes()
            for value in node.outputs
            if "." in value and value[-1].isdigit() and value.rpartition(".")[2].isdigit()
        )

    def has(self, name: str) -> bool:
        """Whether ``name`` was counted up."""
        if not name[-1:].isdigit():
            return False
        atoms = name.split(".")
        if not atoms[-1].isdigit():
            return False
        if atoms[0] in self._first:
            return True
        while len(atoms) > 1 and atoms[-1].isdigit():
            atoms.pop()
        return atoms[-1].replace("_", "").lower() in _operators()


@cache
def _operators() -> frozenset[str]:
    return frozenset(schema.name.lower() for schema in onnx.defs.get_all_schemas())


def parameter_names(model: Model) -> Iterator[str]:
    """Names of initializers, and of tensors that Constant nodes hold, that may be parameters."""
    for graph in model.graphs():
        for name in graph.initializers:
            if "." in name and not _only_controls(graph, name):
                yield name
        for node in graph.nodes:
            if node.op_type == "Constant" and "." in (output := node.first_output) and is_weight(node):
                yield output


def is_weight(node: Node) -> bool:
    """Whether a Constant node holds a float tensor of more than one element that aren't all equal."""
    for attribute in node.attribute_protos():
        if attribute.name == "value" and attribute.type == onnx.AttributeProto.TENSOR:
            tensor = attribute.t
            return tensor.data_type in _FLOATS and any(extent > 1 for extent in tensor.dims) and not _uniform(tensor)
    return False


def _uniform(tensor: onnx.TensorProto) -> bool:
    if not tensor.HasField("raw_data"):
        values = tensor.float_data or tensor.double_data or tensor.int32_data
        return len(values) > 1 and len(set(values[:_GLANCE])) == 1 and len(set(values)) == 1
    raw, size = tensor.raw_data, {1: 4, 11: 8}.get(tensor.data_type, 2)
    head = raw[: size * _GLANCE]
    return len(raw) > size and head == raw[:size] * (len(head) // size) and raw == raw[:size] * (len(raw) // size)


def _only_controls(graph: Graph, name: str) -> bool:
    """Whether every reader of ``name`` takes it for a shape, an axis or the like."""
    readers = graph.consumers(name)
    if not readers or readers[0].op_type not in CONTROLLED:
        return False
    return all(name in controls(reader) for reader in readers)
