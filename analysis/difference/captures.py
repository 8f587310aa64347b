"""How bodies use the values around them: what tells apart two captured values of one node, whose order says nothing.

A captured value has marks, numbers that are equal on both sides where the bodies use it alike: made of the colours
from below of an inner node that reads it, so of everything in the body that depends on it. There is one for each such
node, and a weaker one of its label alone, which an edit further down in the body leaves as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import onnx

from modelexport.analysis.difference.sources import Constant, Side, Source
from modelexport.ir.editing.topology import in_order
from modelexport.ir.node import Node
from modelexport.ir.scope import Scope

Number = Callable[[Hashable], int]
Marks = dict[str, list[int]]  # by the name of a captured value


def label_of(side: Side, node: Node) -> Hashable:
    """Module, operator and attributes of a node."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    return side.path(node), node.op_type, domain, attribute_bytes(node)


def has_graph(attribute: onnx.AttributeProto) -> bool:
    """Whether an attribute holds bodies."""
    return attribute.HasField("g") or bool(attribute.graphs)


def content(attribute: onnx.AttributeProto) -> bytes:
    """An attribute without its doc string, as bytes that are equal for equal ones."""
    if attribute.HasField("doc_string"):
        bare = onnx.AttributeProto()
        bare.CopyFrom(attribute)
        bare.ClearField("doc_string")
        attribute = bare
    return bytes(attribute.SerializeToString(deterministic=True))


def attribute_bytes(node: Node) -> tuple[bytes, ...]:
    """A node's attributes without the bodies, which are compared as graphs, and without doc strings."""
    return tuple(sorted(content(each) for each in node.attribute_protos() if not has_graph(each)))


class Captures:
    """Marks of captured values, on both sides.

    Args:
        number: one number for equal keys.
    """

    def __init__(self, number: Number) -> None:
        self._number = number
        self._bodies: dict[Scope, Marks] = {}

    def reads(self, side: Side, node: Node) -> list[tuple[int, Source]]:
        """What a node reads: its inputs by slot, then captured values by their marks below zero, once for each mark."""
        sources = side.sources(node)
        inputs = len(node.inputs)
        found = list(enumerate(sources[:inputs]))
        marks = self._of_node(side, node)
        captured = zip(node.captures, sources[inputs:], strict=True)
        return found + sorted(
            ((-1 - mark, source) for value, source in captured for mark in set(marks.get(value, ()))), key=_slot
        )

    def _of_node(self, side: Side, node: Node) -> Marks:
        uses: Marks = {}
        for body in node.bodies:
            for value, marks in self._of_body(side, body).items():
                uses.setdefault(value, []).extend(self._number(("body", body.label, mark)) for mark in marks)
        return uses

    def _of_body(self, side: Side, body: Scope) -> Marks:
        found = self._bodies.get(body)
        if found is not None:
            return found
        uses: Marks = {}
        for place, value in enumerate(body.outputs):
            uses.setdefault(value, []).append(self._number(("given out", place)))
        for node in reversed(in_order(body)):
            if side.is_fixed(node):
                continue
            label = label_of(side, node)
            fixed = tuple(
                (slot, side.outline(source))
                for slot, source in enumerate(side.sources(node)[: len(node.inputs)])
                if isinstance(source, Constant)
            )
            read = tuple(tuple(sorted(uses.get(value, ()))) for value in node.outputs)
            colour = self._number(("inner", label, fixed, read))
            for slot, value in enumerate(node.inputs):
                marks = self._number(("read", colour, slot)), self._number(("by", label, slot))
                uses.setdefault(value, []).extend(marks)
            if node.captures:
                for value, inner in self._of_node(side, node).items():
                    uses.setdefault(value, []).extend(self._number(("read inside", colour, mark)) for mark in inner)
        found = self._bodies[body] = {
            value: sorted(marks) for value, marks in uses.items() if value and not body.defines(value)
        }
        return found


def _slot(read: tuple[int, Source]) -> int:
    return read[0]
