"""What is known of a value and of an execution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import onnx

NO_TENSOR = -1
_BITS: dict[int, int] = {
    onnx.TensorProto.BOOL: 8,
    onnx.TensorProto.COMPLEX64: 64,
    onnx.TensorProto.COMPLEX128: 128,
    onnx.TensorProto.BFLOAT16: 16,
}


@cache
def bits_of(elem_type: int) -> int | None:
    """Bits of one element as it is stored; None for strings and unknown types."""
    if elem_type in _BITS:
        return _BITS[elem_type]
    name = onnx.TensorProto.DataType.Name(elem_type) if elem_type in onnx.TensorProto.DataType.values() else ""
    if name.startswith("FLOAT8"):
        return 8
    digits = name.removeprefix("UINT").removeprefix("INT").removeprefix("FLOAT")
    if name == "FLOAT":
        return 32
    if name == "DOUBLE":
        return 64
    if name.startswith("FLOAT4"):
        return 4
    return int(digits) if digits.isdigit() else None


class Value:
    """A value's element type (ONNX's number; 0 unknown, NO_TENSOR for sequences and the like) and sizes (or None).

    Attributes:
        elements: number of elements; None where unknown.
        nbytes: bytes of the data, elements of less than a byte packed; 0 for what is no tensor, None where unknown.
    """

    __slots__ = ("dims", "elem_type", "elements", "nbytes")

    def __init__(self, elem_type: int, dims: tuple[int, ...] | None) -> None:
        self.elem_type, self.dims = elem_type, dims
        self.elements = None if dims is None else math.prod(dims)
        bits = bits_of(elem_type) if self.elements is not None else None
        self.nbytes = None if bits is None or self.elements is None else (self.elements * bits + 7) // 8
        if elem_type == NO_TENSOR:
            self.nbytes = 0

    def __repr__(self) -> str:
        return f"Value({self.elem_type}, {self.dims})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and (self.elem_type, self.dims) == (other.elem_type, other.dims)

    def __hash__(self) -> int:
        return hash((self.elem_type, self.dims))

    @property
    def is_tensor(self) -> bool:
        """Whether it is a tensor, or may be one."""
        return self.elem_type != NO_TENSOR


@dataclass(slots=True)
class Execution:
    """Executions of a node with the same shapes. Not to be changed.

    Attributes:
        count: how many; None where that is not known.
        inputs, outputs: by slot; None for a slot that is not used.
        reason: why the count is not known.
    """

    count: int | None
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value | None, ...]
    reason: str = ""

    @property
    def known(self) -> bool:
        """Whether the count and every shape it makes are known."""
        return self.count is not None and (
            self.count == 0
            or all(v is None or not v.is_tensor or v.dims is not None for v in (*self.inputs, *self.outputs))
        )
