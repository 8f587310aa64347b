"""Damage of every kind: to bytes, text, JSON documents, protobuf messages and zip archives.

Each function draws from hypothesis how much and where, so that a failing example shrinks to the damage that matters.
"""

from __future__ import annotations

import copy
import io
import json
import zipfile
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

HUGE = "1" * 5000  # more digits than Python turns into an int
TEXTS = [
    "",
    " ",
    ".",
    "..",
    "a" * 3000,
    "\0",
    "\n",
    "\x1b[31m",
    "\ud800",
    "'",
    '"',
    "{",
    "}",
    "=",
    ",",
    "*",
    "(",
    "/",
    "//x",
    "x.y",
    "../../x",
    "/etc/passwd",
    "none",
    "true",
    "NaN",
    "-1",
    "1e400",
    "٣",
    "²",
    HUGE,
    "a.b.c.d",
    "main/0.then_branch",
    "module:",
    "htp.path",
    "[" * 2000,
    "%s%n",
    "path:",
    "op:",
    "not",
    "and",
    "encoder",
]
NUMBERS = [
    0,
    1,
    -1,
    2,
    7,
    255,
    256,
    2**31 - 1,
    2**31,
    -(2**31),
    2**32,
    2**53,
    2**63 - 1,
    -(2**63),
    2**63,
    10**30,
    0.5,
    -0.5,
    1e308,
    float("inf"),
    float("-inf"),
    float("nan"),
]
VALUES: list[Any] = [None, True, False, [], {}, [[]], {"": {}}, [None], *NUMBERS, *TEXTS]
DEEP = "\uffffdeep"  # stands for a very deep list, which json.dumps could not write
LONG = "\uffffhuge"  # stands for an integer of 5,000 digits, which it could not write either


@st.composite
def damaged_bytes(draw: DrawFn, seeds: list[bytes]) -> bytes:
    """Bytes of a seed flipped, cut, repeated or put in; or any bytes at all."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        kind = draw(st.sampled_from(["flip", "cut", "tail", "repeat", "insert"]))
        if kind == "flip" and data:
            data[at] ^= draw(st.integers(1, 255))
        elif kind == "cut":
            del data[at : at + draw(st.integers(1, 40))]
        elif kind == "tail":
            del data[at:]
        elif kind == "repeat":
            data[at:at] = data[at : at + draw(st.integers(1, 40))]
        else:
            data[at:at] = draw(st.binary(max_size=8))
    return bytes(data)


@st.composite
def damaged_text(draw: DrawFn, seeds: list[str]) -> str:
    """A seed with characters taken away, words put in and parts repeated."""
    text = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(text)))
        kind = draw(st.sampled_from(["cut", "word", "repeat", "any", "other"]))
        if kind == "cut":
            text = text[:at] + text[at + draw(st.integers(1, 12)) :]
        elif kind == "word":
            text = text[:at] + draw(st.sampled_from(TEXTS)) + text[at:]
        elif kind == "repeat":
            text = text[:at] + text[at : at + draw(st.integers(1, 12))] * draw(st.integers(1, 20)) + text[at:]
        elif kind == "any":
            text = text[:at] + draw(st.text(max_size=4)) + text[at:]
        else:
            text = text[:at] + draw(st.sampled_from(seeds))[: draw(st.integers(1, 40))] + text[at:]
    return text


def places(document: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in a JSON document."""
    found = [at]
    if isinstance(document, dict):
        for key, value in document.items():
            found += places(value, (*at, key))
    elif isinstance(document, list):
        for index, value in enumerate(document[:30]):
            found += places(value, (*at, index))
    return found


@st.composite
def damaged_document(draw: DrawFn, seeds: list[Any]) -> Any:
    """A JSON document with values replaced, taken away, repeated, renamed or moved."""
    document = json.loads(json.dumps(draw(st.sampled_from(seeds))))
    for _ in range(draw(st.integers(1, 3))):
        known = places(document)
        where = draw(st.sampled_from(known))
        if not where:
            if draw(st.integers(0, 9)) == 9:
                document = copy.deepcopy(draw(st.sampled_from(VALUES)))
            continue
        holder = document
        for step in where[:-1]:
            holder = holder[step]
        last = where[-1]
        kind = draw(st.sampled_from(["replace", "replace", "delete", "rename", "move", "deep", "long"]))
        if kind == "delete":
            del holder[last]
        elif kind == "rename" and isinstance(holder, dict):
            holder[draw(st.sampled_from(TEXTS))] = holder.pop(last)
        elif kind == "move":
            other: Any = document
            for step in draw(st.sampled_from(known)):
                other = other[step]
            holder[last] = json.loads(json.dumps(other))
        else:
            holder[last] = {"deep": DEEP, "long": LONG}.get(kind) or copy.deepcopy(draw(st.sampled_from(VALUES)))
    return document


def json_bytes(document: Any) -> bytes:
    """A document as it would be in a file, lone surrogates, NaN and what json.dumps can't write included."""
    text = json.dumps(document)
    text = text.replace(json.dumps(DEEP), "[" * 3000 + "]" * 3000).replace(json.dumps(LONG), HUGE)
    return text.encode("utf-8", "surrogatepass")


Site = tuple[Any, FieldDescriptor]
_INTEGERS = {FieldDescriptor.CPPTYPE_INT32: 32, FieldDescriptor.CPPTYPE_INT64: 64, FieldDescriptor.CPPTYPE_UINT64: 65}


def sites(message: Any, depth: int = 0) -> list[Site]:
    """Every field of every message inside a message, those that are not set included."""
    found: list[Site] = []
    for field in message.DESCRIPTOR.fields:
        found.append((message, field))
        if field.cpp_type != FieldDescriptor.CPPTYPE_MESSAGE or depth > 12:
            continue
        if field.is_repeated:
            for inner in list(getattr(message, field.name))[:30]:
                found += sites(inner, depth + 1)
        elif message.HasField(field.name):
            found += sites(getattr(message, field.name), depth + 1)
    return found


def names_in(proto: onnx.ModelProto) -> list[str]:
    """Names of nodes and values, so that damage can point at something that is there."""
    graph = proto.graph
    found = [name for node in graph.node for name in (node.name, node.op_type, *node.input, *node.output)]
    found += [one.name for one in (*graph.input, *graph.output, *graph.initializer)]
    return list(dict.fromkeys(found)) or [""]


@st.composite
def damaged_model(draw: DrawFn, seeds: list[bytes]) -> bytes:
    """A real model with fields cleared, repeated, replaced or copied from elsewhere in it."""
    proto = onnx.ModelProto.FromString(draw(st.sampled_from(seeds)))
    names = names_in(proto)
    for _ in range(draw(st.integers(1, 4))):
        message, field = draw(st.sampled_from(sites(proto)))
        kind = draw(st.sampled_from(["replace", "replace", "clear", "repeat", "delete", "copy"]))
        held = getattr(message, field.name)
        if kind == "clear":
            message.ClearField(field.name)
        elif field.is_repeated and len(held) and kind in ("repeat", "delete"):
            at = draw(st.integers(0, len(held) - 1))
            if kind == "delete":
                del held[at]
            else:
                held.append(held[at])
        elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            kin = [m for m, _ in sites(proto) if field.message_type == m.DESCRIPTOR]
            copied = type(kin[0])() if kin and kind == "copy" else None
            if copied is not None:
                copied.CopyFrom(draw(st.sampled_from(kin)))
                (held.add() if field.is_repeated else held).CopyFrom(copied)
            elif field.is_repeated:
                held.add()
            else:
                held.SetInParent()
        else:
            value = _scalar(draw, field, names)
            if not field.is_repeated:
                setattr(message, field.name, value)
            elif len(held):
                held[draw(st.integers(0, len(held) - 1))] = value
            else:
                held.append(value)
    return bytes(proto.SerializeToString())


def _scalar(draw: DrawFn, field: FieldDescriptor, names: list[str]) -> Any:
    if field.enum_type is not None:
        return draw(st.sampled_from(sorted(value.number for value in field.enum_type.values)))
    bits = _INTEGERS.get(field.cpp_type)
    if bits is not None:
        high, low = (2**64, 0) if bits == 65 else (2 ** (bits - 1), -(2 ** (bits - 1)))
        return draw(st.sampled_from([n for n in NUMBERS if isinstance(n, int) and low <= n < high]))
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return float(draw(st.sampled_from([n for n in NUMBERS if abs(n) < 1e30 or n != n])))
    if field.type == FieldDescriptor.TYPE_BYTES:
        return draw(st.binary(max_size=40))
    words = [word for word in TEXTS if "\ud800" not in word]
    return draw(st.sampled_from(names) | st.sampled_from(words))


@st.composite
def damaged_archive(draw: DrawFn, seeds: list[bytes], header: str) -> bytes:
    """A zip archive of one JSON header and arrays: the header damaged, or a member's bytes, or members left out."""
    with zipfile.ZipFile(io.BytesIO(draw(st.sampled_from(seeds)))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for _ in range(draw(st.integers(1, 2))):
        kind = draw(st.sampled_from(["header", "header", "member", "drop", "swap"]))
        name = draw(st.sampled_from(sorted(members)))
        if kind == "header" and b"[" * 100 in members.get(header, b""):
            continue  # so deep already that Python can't walk it
        if kind == "header" and header in members:
            try:
                document = json.loads(members[header])
            except (ValueError, RecursionError):
                continue
            members[header] = json_bytes(draw(damaged_document([document])))
        elif kind == "drop" and len(members) > 1:
            del members[name]
        elif kind == "swap":
            members[name] = members[draw(st.sampled_from(sorted(members)))]
        else:
            members[name] = draw(damaged_bytes([members[name]]))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()
