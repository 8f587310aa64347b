"""The bytes of a model in pieces, as protobuf writes them, so that no more than one copy of them is in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

import onnx
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from modelexport.ir.proto import wire
from modelexport.ir.text import text

_GRAPH, _NODE = (
    message.DESCRIPTOR.fields_by_name[name].number
    for message, name in ((onnx.ModelProto, "graph"), (onnx.GraphProto, "node"))
)
_TOGETHER, _SMALL = 1 << 10, 1 << 24  # messages that make one piece, and bytes from which they are not copied for it
_LIMIT = 2**31 - 1


def pieces(proto: onnx.ModelProto, tails: Mapping[int, bytes]) -> list[bytes] | None:
    """What ``proto.SerializeToString(deterministic=True)`` gives, cut between fields, with ``tails`` in it.

    Args:
        proto: the model.
        tails: by position of a node in the main graph, fields that its bytes end with; the node itself lacks them.

    Returns:
        None where the model has, on its first two levels, fields that are not known here.

    Raises:
        EncodeError: a part is larger than the 2 GB that protobuf allows.
        ValueError: the whole is.
    """
    if not _ALL_WRITABLE or has_unknown(proto) or (proto.HasField("graph") and has_unknown(proto.graph)):
        return None
    found: list[bytes] = []
    for field, value in proto.ListFields():
        if field.number == _GRAPH:
            graph = [piece for each, of in value.ListFields() for piece in _field(each, of, tails)]
            found += (wire.head(_GRAPH, sum(map(len, graph))), *graph)
        else:
            found += _field(field, value, {})
    if sum(map(len, found)) > _LIMIT:
        raise ValueError("the model is larger than 2 GB")
    return found


def has_unknown(proto: Message) -> bool:
    """Whether ``proto`` has fields of its own that this version of onnx doesn't know."""
    return len(UnknownFieldSet(proto)) > 0


def _field(field: Any, value: Any, tails: Mapping[int, bytes]) -> Iterator[bytes]:
    """A field of the model, or of its graph, whose nodes end with ``tails``."""
    number, values = field.number, value if _is_repeated(field) else (value,)
    if field.type == field.TYPE_MESSAGE:
        yield from _messages(number, values, tails if values and isinstance(values[0], onnx.NodeProto) else {})
    elif field.type == field.TYPE_STRING:
        yield wire.strings(number, map(text, values))
    else:
        yield wire.varint(number << 3) + wire.varint(value % (1 << 64))


def _messages(number: int, values: Sequence[Message], tails: Mapping[int, bytes]) -> Iterator[bytes]:
    tag, size_of = wire.varint(number << 3 | 2), wire.varint
    for first in range(0, len(values), _TOGETHER):
        found = [each.SerializeToString(deterministic=True) for each in values[first : first + _TOGETHER]]
        if tails:
            behind = map(tails.get, range(first, first + len(found)), repeat(b""))
            parts = [part for data, tail in zip(found, behind, strict=True)
                     for part in (tag, size_of(len(data) + len(tail)), data, tail)]  # fmt: skip
        else:
            parts = [part for data in found for part in (tag, size_of(len(data)), data)]
        if sum(map(len, found)) < _SMALL:
            yield b"".join(parts)
        else:
            yield from parts


def _is_repeated(field: Any) -> bool:
    """Newer versions of protobuf warn of ``label``, and older ones have nothing else."""
    return bool(field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED)


def _can_write(field: Any) -> bool:
    if field.type in (field.TYPE_MESSAGE, field.TYPE_STRING):
        return True
    return field.type in (field.TYPE_INT32, field.TYPE_INT64) and not _is_repeated(field)


_ALL_WRITABLE = all(
    _can_write(field) for message in (onnx.ModelProto, onnx.GraphProto) for field in message.DESCRIPTOR.fields
)
