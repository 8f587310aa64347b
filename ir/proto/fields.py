"""Fields of a protobuf message, found without parsing what is in them."""

from __future__ import annotations

import mmap
from collections.abc import Iterator


def fields(data: bytes | mmap.mmap, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(number, begin, start of the payload, end) of each field between ``position`` and ``end``.

    Raises:
        ValueError: a wire type that ONNX does not use, a number of more than ten bytes, or a field that is longer than
            its message.
        IndexError: the data ends inside a field.
    """
    while position < end:
        begin = position
        key, position = _varint(data, position)
        kind = key & 7
        start = position
        if kind == 0:
            _, position = _varint(data, position)
        elif kind == 1:
            position += 8
        elif kind == 5:
            position += 4
        elif kind == 2:
            length, start = _varint(data, position)
            position = start + length
        else:
            raise ValueError(f"wire type {kind} is not used by ONNX")
        if position > end:
            raise ValueError("a field is longer than its message")
        yield key >> 3, begin, start, position


def _varint(data: bytes | mmap.mmap, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than ten bytes")
