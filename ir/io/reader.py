"""From a file, bytes or a stream to a Model, without reading external data."""

from __future__ import annotations

import os
import stat
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import onnx
from google.protobuf.message import DecodeError

from modelexport.ir.editing.topology import find_cycle
from modelexport.ir.errors import InputError, MissingFileError
from modelexport.ir.graph import Graph
from modelexport.ir.identity.file_kinds import ONNX, kind_of
from modelexport.ir.limits import without_gc
from modelexport.ir.model import Model
from modelexport.ir.proto.building import fill
from modelexport.ir.text import shown, text

_LIMIT = 2**31 - 1  # bytes of one protobuf message
_TOO_LARGE = "larger than 2 GB, the limit of one ONNX file (large weights go to external data)"
_CHUNK = 1 << 20


def load_model(source: str | PathLike[str] | bytes | BinaryIO) -> Model:
    """Read a model. External data is never read.

    Args:
        source: a path, the serialized bytes, or an open binary file.

    Raises:
        InputError: the source can't be read, is not an ONNX model, is cyclic, or has recursive functions.
    """
    path: Path | None = None
    if isinstance(source, bytes):
        data, label = source, "<bytes>"
    elif isinstance(source, (str, PathLike)):
        path = Path(source)
        label = shown(str(path))
        data = _read_file(path, label)
    else:
        label = str(getattr(source, "name", "<stream>"))
        data = _read_stream(source, label)
    return from_proto(_parse(data, label), path=path, label=label)


def from_proto(proto: onnx.ModelProto, path: Path | None = None, label: str = "<model>") -> Model:
    """Build the IR over a proto that is already in memory; the proto becomes the model's source.

    Raises:
        InputError: the graph is cyclic or its functions are recursive.
    """
    with without_gc():
        model = Model(proto, path)
        fill(model.main)
        for function in proto.functions:
            scope = f"function:{text(function.domain)}:{text(function.name)}:{text(function.overload)}"
            graph = Graph(model, function, scope, "function")
            fill(graph)
            model.add_function(graph)
    for graph in model.graphs():
        if not graph.is_sorted:
            _refuse_cycle(graph, label)
    if model.functions:
        _refuse_recursion(model, label)
    return model


def _read_file(path: Path, label: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            status = os.fstat(stream.fileno())
            if stat.S_ISFIFO(status.st_mode):
                return _read_stream(stream, label)
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"{label}: not a regular file")
            if status.st_size > _LIMIT:
                raise InputError(f"{label}: {_TOO_LARGE}")
            return stream.read()
    except FileNotFoundError as error:
        raise MissingFileError(f"{label}: {error.strerror or error}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"{label}: {getattr(error, 'strerror', None) or error}") from error


def _read_stream(stream: BinaryIO, label: str) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        try:
            chunk = stream.read(_CHUNK)
        except (OSError, ValueError) as error:
            raise InputError(f"{label}: {getattr(error, 'strerror', None) or error}") from error
        if not isinstance(chunk, bytes):
            raise InputError(f"{label}: the stream gives text; open it in binary mode")
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
        size += len(chunk)
        if size > _LIMIT:
            raise InputError(f"{label}: {_TOO_LARGE}")


def _parse(data: bytes, label: str) -> onnx.ModelProto:
    if not data:
        raise InputError(f"{label}: the file is empty")
    try:
        proto: onnx.ModelProto = onnx.ModelProto.FromString(data)
    except DecodeError as error:
        raise InputError(f"{label}: not an ONNX model{_instead(data) or ', or truncated'}") from error
    if not proto.HasField("graph") or not (proto.ir_version or proto.opset_import or proto.graph.node):
        raise InputError(f"{label}: not an ONNX model{_instead(data) or ': it has no graph'}")
    return proto


def _instead(data: bytes) -> str:
    what, fix = kind_of(data)
    return f": it is {what}; {fix}" if what and what != ONNX else ""


def _refuse_cycle(graph: Graph, label: str) -> None:
    cycle = find_cycle(graph)
    if cycle:
        through = " -> ".join(shown(node.name or node.first_output) or node.op_type for node in cycle[:3])
        raise InputError(f"{label}: {graph.scope} is cyclic through {through}")


def _refuse_recursion(model: Model, label: str) -> None:
    cycle = model.recursion()
    if cycle:
        raise InputError(f"{label}: local functions are recursive: {' -> '.join(graph.scope for graph in cycle[:3])}")
