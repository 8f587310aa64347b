"""Where the data of initializers stands in the bytes of a model: protobuf copies it whenever it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap

import onnx

from modelexport.ir.proto.fields import fields

_GRAPH = onnx.ModelProto.DESCRIPTOR.fields_by_name["graph"].number
_INITIALIZER = onnx.GraphProto.DESCRIPTOR.fields_by_name["initializer"].number
_NAME = onnx.TensorProto.DESCRIPTOR.fields_by_name["name"].number
_RAW = onnx.TensorProto.DESCRIPTOR.fields_by_name["raw_data"].number

_DELIMITED = 2  # the wire type of bytes, strings and messages

Place = tuple[int, int]  # the first byte, and the one behind the last


def raw_places(data: bytes | mmap) -> dict[str, Place]:
    """By name, where the ``raw_data`` of the main graph's initializers is in ``data``, a serialized model.

    Names that are there twice or are not UTF-8 are left out, and all of them where the bytes are no plain model.
    """
    found: dict[str, Place] = {}
    twice: set[str] = set()
    try:
        graphs = [place for number, place in _parts(data, (0, len(data))) if number == _GRAPH]
        if len(graphs) != 1:  # parsers merge several
            return {}
        for number, tensor in _parts(data, graphs[0]):
            if number == _INITIALIZER:
                parts = dict(_parts(data, tensor))  # of a repeated field the last counts
                if _NAME in parts and _RAW in parts:
                    name = bytes(data[slice(*parts[_NAME])]).decode()
                    if name in found:
                        twice.add(name)
                    found[name] = parts[_RAW]
    except (IndexError, ValueError):  # UnicodeDecodeError is a ValueError
        return {}
    return {name: place for name, place in found.items() if name not in twice}


def _parts(data: bytes | mmap, place: Place) -> Iterator[tuple[int, Place]]:
    """Number and place of the payload of each length-delimited field of a message."""
    for number, begin, start, end in fields(data, *place):
        if data[begin] & 7 == _DELIMITED:
            yield number, (start, end)
