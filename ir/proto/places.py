"""Where the data of initializers stands in the bytes of a model: protobuf copies it whenever it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap

import onnx

_GRAPH = onnx.ModelProto.DESCRIPTOR.fields_by_name["graph"].number
_INITIALIZER = onnx.GraphProto.DESCRIPTOR.fields_by_name["initializer"].number
_NAME = onnx.TensorProto.DESCRIPTOR.fields_by_name["name"].number
_RAW = onnx.TensorProto.DESCRIPTOR.fields_by_name["raw_data"].number

Place = tuple[int, int]  # the first byte, and the one behind the last


def raw_places(data: bytes | mmap) -> dict[str, Place]:
    """By name, where the ``raw_data`` of the main graph's initializers is in ``data``, a serialized model.

    Names that are there twice or are not UTF-8 are left out, and all of them where the bytes are no plain model.
    """
    found: dict[str, Place] = {}
    twice: set[str] = set()
    try:
        graphs = [place for number, place in _fields(data, (0, len(data))) if number == _GRAPH]
        if len(graphs) != 1:  # parsers merge several
            return {}
        for number, tensor in _fields(data, graphs[0]):
            if number == _INITIALIZER:
                parts = dict(_fields(data, tensor))  # of a repeated field the last counts
                if _NAME in parts and _RAW in parts:
                    name = bytes(data[slice(*parts[_NAME])]).decode()
                    if name in found:
                        twice.add(name)
                    found[name] = parts[_RAW]
    except (IndexError, ValueError):  # UnicodeDecodeError is a ValueError
        return {}
    return {name: place for name, place in found.items() if name not in twice}


def _fields(data: bytes | mmap, place: Place) -> Iterator[tuple[int, Place]]:
    """Number and place of each length-delimited field of a message. Raises IndexError, ValueError: it is none."""
    at, end = place
    while at < end:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 2:
            length, at = _varint(data, at)
            yield key >> 3, (at, at + length)
            at += length
        elif kind == 0:
            _, at = _varint(data, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")
    if at != end:
        raise ValueError("a field is longer than its message")


def _varint(data: bytes | mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than ten bytes")
