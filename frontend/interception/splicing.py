"""Tagging the bytes of a model around its weights: they are neither parsed nor copied, but handed on as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx

from modelexport.ir.errors import OutputError
from modelexport.ir.proto.fields import fields
from modelexport.ir.proto.wire import delimited, varint

SMALL = 1024  # bytes of an initializer; smaller ones are parsed like everything else
PROTOBUF_LIMIT = 2**31 - 1
_GRAPH = onnx.ModelProto.DESCRIPTOR.fields_by_name["graph"].number
_INITIALIZER = onnx.GraphProto.DESCRIPTOR.fields_by_name["initializer"].number
_RAW_DATA = onnx.TensorProto.DESCRIPTOR.fields_by_name["raw_data"].number
_PLACE = "modelexport weight "

Piece = bytes | memoryview


class Lightened:
    """A serialized model, parsed without its larger initializers.

    Attributes:
        proto: the model; where a larger initializer was there is one of its name, type and shape that refers to
            external data.

    Raises:
        OutputError: the bytes are not what protobuf makes of this model, so that no one could write them again.
    """

    def __init__(self, data: bytes) -> None:
        self._weights: list[memoryview] = []
        light = self._without_weights(data)
        self.proto = onnx.ModelProto.FromString(light)
        if self.proto.SerializeToString(deterministic=True) != light:
            raise OutputError("the exporter's bytes are not in protobuf's own order")

    def spliced(self, light: bytes) -> list[Piece]:
        """``light``, a serialization of ``proto``, with the initializers as they were; to be written one by one.

        Raises:
            OutputError: the model would be larger than the 2 GB that one protobuf file may have.
        """
        pieces: list[Piece] = []
        for number, begin, start, end in fields(light, 0, len(light)):
            if number == _GRAPH:
                graph = self._with_weights(light[start:end])
                pieces += [varint(_GRAPH << 3 | 2) + varint(size_of(graph)), *graph]
            else:
                pieces.append(light[begin:end])
        if size_of(pieces) > PROTOBUF_LIMIT:
            raise OutputError("with its tags the model would be larger than 2 GB")
        return pieces

    def _without_weights(self, data: bytes) -> bytes:
        view = memoryview(data)
        parts: list[Piece] = []
        for number, begin, start, end in fields(data, 0, len(data)):
            if number != _GRAPH:
                parts.append(view[begin:end])
                continue
            graph: list[Piece] = []
            for inner, first, payload, last in fields(data, start, end):
                if inner == _INITIALIZER and last - payload > SMALL:
                    graph.append(delimited(_INITIALIZER, self._stand_in(data, payload, last)))
                    self._weights.append(view[first:last])
                else:
                    graph.append(view[first:last])
            parts.append(delimited(_GRAPH, b"".join(graph)))
        return b"".join(parts)

    def _stand_in(self, data: bytes, start: int, end: int) -> bytes:
        kept = [data[first:last] for number, first, _, last in fields(data, start, end) if number != _RAW_DATA]
        entry = onnx.TensorProto.FromString(b"".join(kept))
        del entry.external_data[:]
        entry.data_location = onnx.TensorProto.EXTERNAL
        entry.external_data.add(key="location", value=f"{_PLACE}{len(self._weights)}")
        return entry.SerializeToString(deterministic=True)

    def _with_weights(self, light: bytes) -> list[Piece]:
        pieces: list[Piece] = []
        run = 0  # fields that stay as they are are written together
        for number, begin, start, end in fields(light, 0, len(light)):
            if number != _INITIALIZER:
                continue
            index = _index(onnx.TensorProto.FromString(light[start:end]))
            if index is not None:
                pieces += [light[run:begin], self._weights[index]]
                run = end
        pieces.append(light[run:])
        return pieces


def size_of(pieces: Sequence[Piece]) -> int:
    """Their length together, in bytes."""
    return sum(len(piece) for piece in pieces)


def write(pieces: Sequence[Piece], original: Any, model_bytes: bytes, f: Any, *args: Any, **kwargs: Any) -> Any:
    """Let torch's function that writes ``model_bytes`` to ``f`` write the pieces instead.

    A file gets them one by one. What is no path is written to as torch does, in one call, up to 1.5 GB.
    """
    import torch.serialization

    opener = getattr(torch.serialization, "_open_file_like", None)
    is_path = isinstance(f, str) or hasattr(f, "__fspath__")
    if opener is None or (not is_path and size_of(pieces) <= 1536 * 2**20):
        return original(b"".join(pieces), f, *args, **kwargs)
    with opener(f, "wb") as opened:
        return original(model_bytes, _Instead(opened, pieces), *args, **kwargs)


class _Instead:
    """A file that writes the pieces, whatever it is given."""

    def __init__(self, opened: Any, pieces: Sequence[Piece]) -> None:
        self._opened = opened
        self._pieces = pieces

    def write(self, data: Any) -> int:
        for piece in self._pieces:
            self._opened.write(piece)
        return len(data)

    def flush(self) -> None:
        self._opened.flush()


def _index(entry: onnx.TensorProto) -> int | None:
    for given in entry.external_data:
        if given.key == "location" and given.value.startswith(_PLACE):
            return int(given.value.removeprefix(_PLACE))
    return None
