"""Protobuf wire bytes of strings: the way in for names that are not UTF-8, and for many equal entries at once.

Python's protobuf refuses to assign bytes that are not UTF-8 to a string field, yet parses them; ``MergeFromString``
with bytes made here sets a singular string and appends to a repeated one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

import onnx

_ENTRY = onnx.StringStringEntryProto.DESCRIPTOR.fields_by_name
_KEY, _VALUE = _ENTRY["key"].number, _ENTRY["value"].number
_METADATA = {
    message: message.DESCRIPTOR.fields_by_name["metadata_props"].number for message in (onnx.NodeProto, onnx.ModelProto)
}


def encoded(value: str) -> bytes:
    """The bytes of a proto string; surrogate escapes become the bytes they stand for."""
    return value.encode("utf-8", "surrogateescape")


@lru_cache(maxsize=1 << 12)  # mostly the lengths of short strings
def varint(number: int) -> bytes:
    """A non-negative integer, seven bits per byte, lowest first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def head(field: int, size: int) -> bytes:
    """What stands before the ``size`` bytes of a length-delimited field."""
    return varint(field << 3 | 2) + varint(size)


def delimited(field: int, payload: bytes) -> bytes:
    """A length-delimited field."""
    return head(field, len(payload)) + payload


def string(field: int, value: str) -> bytes:
    """A string field."""
    return delimited(field, encoded(value))


def strings(field: int, values: Iterable[str]) -> bytes:
    """A repeated string field."""
    tag = varint(field << 3 | 2)
    return b"".join([tag + varint(len(data)) + data for data in map(encoded, values)])


def metadata(message: type[onnx.NodeProto] | type[onnx.ModelProto], entries: Mapping[str, str | None]) -> bytes:
    """The entries that are not None as ``metadata_props`` of a message."""
    tag = varint(_METADATA[message] << 3 | 2)
    parts: list[bytes] = []
    for key, value in entries.items():
        if value is not None:
            head = _head(key)
            data = value.encode("utf-8", "surrogateescape")
            size = varint(len(data))
            parts += (tag, varint(len(head) + len(size) + len(data)), head, size, data)
    return b"".join(parts)


@lru_cache(maxsize=1 << 8)  # keys are few
def _head(key: str) -> bytes:
    """An entry up to the length of its value."""
    return string(_KEY, key) + varint(_VALUE << 3 | 2)


def set_value(entry: onnx.StringStringEntryProto, value: str) -> None:
    """Set the value of an entry."""
    entry.MergeFromString(string(_VALUE, value))
