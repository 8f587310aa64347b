"""What a file is that is not what was asked for, and what to do with it.

Told by signatures (https://en.wikipedia.org/wiki/List_of_file_signatures, the formats' own documentation), and only
after a file turned out to be the wrong one: no reader asks first.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from os import PathLike
from typing import BinaryIO

from modelexport.ir.text import shown

LFS, ONNX = "a Git LFS pointer", "an ONNX model"
_SIDECAR = "modelexport-hierarchy"
_HEAD = 4096  # bytes that a signature is looked for in
_MOST_JSON = 64 << 20  # bytes of JSON that are read to tell whose it is
_MODULE = "export that, or write a FILE.py for modelexport export that does"
_EXPORT = "export the module that it belongs to"

_STARTS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs.github.com/spec/", LFS, "run git lfs pull where it was cloned"),
    (b"\x1f\x8b", "compressed with gzip", "unpack it and give the file inside"),
    (b"BZh", "compressed with bzip2", "unpack it and give the file inside"),
    (b"\xfd7zXZ\x00", "compressed with xz", "unpack it and give the file inside"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it and give the file inside"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it and give the file inside"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes", "convert the model with tf2onnx"),
    (b"GGUF", "a GGUF file", f"it holds weights and no graph; {_EXPORT}"),
    (b"\x93NUMPY", "a NumPy array", "give a model"),
    (b"ptrt", "a TensorRT engine", "give the ONNX model that it was built from"),
    (b"ftrt", "a TensorRT engine", "give the ONNX model that it was built from"),
    (b"\x7fELF", "a program", "give a model"),
    (b"%PDF-", "a PDF document", "give a model"),
    (b"\x89PNG\r\n\x1a\n", "a picture", "give a model"),
)
_IDENTIFIERS = {  # bytes 4 to 8 of a flatbuffer
    b"ORTM": ("an ONNX Runtime model (.ort)", "give the ONNX model that it was made from"),
    b"TFL3": ("a TensorFlow Lite model", "convert it with tf2onnx --tflite"),
}
_ONNX_TEXT = re.compile(rb"\s*<\s*ir_version\s*:")
_PROTO_TEXT = re.compile(rb"\s*(?:#[^\n]*\n\s*)*(?:ir_version\s*:|opset_import\s*\{|graph\s*\{|producer_name\s*:)")
# ir_version, then a field that follows it in what exporters write: producer, domain, version, graph, opsets, functions
_MODEL = re.compile(rb"\x08[\x01-\x3f][\x12\x1a\x22\x28\x32\x3a\x42\x72]")
_PICKLE = re.compile(rb"\x80[\x02-\x05]")


def kind_of(source: bytes | str | PathLike[str]) -> tuple[str, str]:
    """What the content is, and what to do with it; two empty texts where nothing is known of it.

    Args:
        source: the content, or the path of a file. A file that can't be read is one of which nothing is known.
    """
    if isinstance(source, bytes):
        return _kind(source[:_HEAD], len(source), io.BytesIO(source))
    try:
        with open(source, "rb") as stream:
            head = stream.read(_HEAD)
            stream.seek(0)
            return _kind(head, os.fstat(stream.fileno()).st_size, stream)
    except (OSError, ValueError):
        return "", ""


def told(source: bytes | str | PathLike[str], otherwise: str = "") -> str:
    """``: it is WHAT; WHAT TO DO``, to put behind a message; ``otherwise`` where nothing is known."""
    what, fix = kind_of(source)
    return f": it is {what}; {fix}" if what else otherwise


def pointer(source: bytes | str | PathLike[str]) -> str:
    """`` (WHAT: WHAT TO DO)`` for a data file that is a Git LFS pointer, else an empty text."""
    what, fix = kind_of(source)
    return f" ({what}: {fix})" if what == LFS else ""


def _kind(head: bytes, size: int, stream: BinaryIO) -> tuple[str, str]:
    for start, what, fix in _STARTS:
        if head.startswith(start):
            return what, fix
    if _MODEL.match(head):
        return ONNX, "give it where a model is asked for"
    if head[4:8] in _IDENTIFIERS:
        return _IDENTIFIERS[head[4:8]]
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _archive(stream)
    if head[257:262] == b"ustar":
        return "a tar archive", "unpack it and give the file inside"
    if _PICKLE.match(head):
        return "a pickle, as older torch.save writes", f"load it into its module in Python and {_MODULE}"
    length = int.from_bytes(head[:8], "little")
    if 2 <= length <= size - 8 and head[8:9] == b"{" and head[9:10] in (b'"', b"}", b" "):
        return "a safetensors file", f"it holds weights and no graph; {_EXPORT}"
    return _text(head, size, stream)


def _text(head: bytes, size: int, stream: BinaryIO) -> tuple[str, str]:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:512]
    if start[:9].lower() == b"<!doctype" or b"<html" in start.lower():
        return "an HTML page", "download the file itself, not the page about it"
    if start.startswith(b"<?xml"):
        if b"<net " in head:
            return "an OpenVINO model", "give the ONNX model that it was made from"
        return "an XML page", "see in it why the download failed, and download the file itself"
    if _ONNX_TEXT.match(head):
        return "ONNX text", _converted("onnxtxt")
    if start[:1] in (b"{", b"["):
        return _json(size, stream)
    if _PROTO_TEXT.match(head):
        return "a model in protobuf's text format", _converted("textproto")
    return "", ""


def _json(size: int, stream: BinaryIO) -> tuple[str, str]:
    try:
        content = json.loads(stream.read()) if size <= _MOST_JSON else None
    except (ValueError, RecursionError):
        return "", ""
    if isinstance(content, dict):
        if content.get("format") == _SIDECAR:
            return "a sidecar", "give it with --reference"
        if "graph" in content and content.keys() & {"irVersion", "ir_version", "opsetImport", "opset_import"}:
            return "a model in JSON", _converted("json")
        if "model_type" in content or "architectures" in content:
            return "a checkpoint's configuration", "give its folder to modelexport export"
    return "JSON", "give a model"


def _converted(form: str) -> str:
    return f"make a model of it with onnx.save(onnx.load(FILE, format='{form}'), 'model.onnx')"


def _archive(stream: BinaryIO) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(stream) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError):
        return "a damaged zip archive", "download or copy it again"
    ends = {name.partition("/")[2] for name in names} | set(names)
    if "header.json" in names and "parameters.stats.npy" in names:
        return "a trace file", "give it with --trace"
    if "archive_format" in ends or "serialized_exported_program.json" in ends:
        return "an ExportedProgram", "load it with torch.export.load and export it with HierarchyExporter"
    if "data.pkl" in ends:
        if "constants.pkl" in ends or any(name.startswith("code/") for name in ends):
            return "a TorchScript archive", "load it with torch.jit.load and export it with HierarchyExporter"
        return "a file of torch.save", f"load it into its module in Python and {_MODULE}"
    if names and all(name.endswith(".npy") for name in names):
        return "an archive of NumPy arrays", "give a model"
    if "model.weights.h5" in ends:
        return "a Keras model", "export it with model.export(FILE, format='onnx')"
    inside = next((name for name in names if name.lower().endswith(".onnx")), "")
    return "a zip archive", f"unpack it and give {shown(inside)}" if inside else "unpack it and give the file inside"
