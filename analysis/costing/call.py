"""One execution of a node as the formulas see it: attributes, and sizes that may not be known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import onnx

from modelexport.passes.running.values import Execution

Dims = tuple[int, ...]


class Uncountable(Exception):
    """The work of a node can't be told; the message says why."""


class Call:
    """Sizes and attributes of one execution. Asking for what is not known raises Uncountable."""

    def __init__(self, node: onnx.NodeProto, execution: Execution) -> None:
        self._node, self._execution = node, execution

    def has(self, slot: int) -> bool:
        """Whether an input is there."""
        inputs = self._execution.inputs
        return slot < len(inputs) and inputs[slot] is not None

    def dims(self, slot: int) -> Dims:
        """Sizes of an input."""
        return self._dims(self._execution.inputs, slot, "input")

    def made(self, slot: int = 0) -> Dims:
        """Sizes of an output."""
        return self._dims(self._execution.outputs, slot, "output")

    def makes(self, slot: int) -> bool:
        """Whether an output is there and its sizes are known."""
        outputs = self._execution.outputs
        if slot >= len(outputs):
            return False
        value = outputs[slot]
        return value is not None and value.dims is not None

    def size(self, slot: int) -> int:
        """Elements of an input."""
        return math.prod(self.dims(slot))

    def attribute(self, name: str, default: Any = None) -> Any:
        """The value of an attribute; strings as str."""
        for attribute in self._node.attribute:
            if attribute.name == name:
                value = onnx.helper.get_attribute_value(attribute)
                return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        return default

    def number(self, name: str, default: int | None = None) -> int:
        """A positive integer attribute."""
        value = self.attribute(name, default)
        if not isinstance(value, int) or value <= 0:
            raise Uncountable(f"attribute {name} is missing")
        return value

    @staticmethod
    def _dims(values: Sequence[Any], slot: int, what: str) -> Dims:
        value = values[slot] if slot < len(values) else None
        if value is None:
            raise Uncountable(f"{what} {slot} is missing")
        if value.dims is None:
            raise Uncountable(f"shape of {what} {slot} is not known")
        dims: Dims = value.dims
        return dims


def axis(dims: Dims, index: int, what: str) -> int:
    """One size. Raises Uncountable where there are too few."""
    if not -len(dims) <= index < len(dims):
        raise Uncountable(f"{what} has {len(dims)} dimensions, too few")
    return dims[index]


def divided(number: int, by: int, what: str) -> int:
    """An exact quotient. Raises Uncountable where there is none."""
    if by <= 0 or number % by:
        raise Uncountable(f"{what}: {number} is no multiple of {by}")
    return number // by


def broadcast(first: Dims, second: Dims) -> Dims:
    """The common shape of two. Raises Uncountable where they have none."""
    length = max(len(first), len(second))
    padded = ((1,) * (length - len(first)) + first, (1,) * (length - len(second)) + second)
    result = []
    for left, right in zip(*padded, strict=True):
        if left != right and 1 not in (left, right):
            raise Uncountable(f"shapes {list(first)} and {list(second)} don't fit")
        result.append(right if left == 1 else left)
    return tuple(result)
