"""Where the values that a node reads come from, with constants told apart from computed values.

A Constant node and an initializer of the same content are one thing here: a constant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TypeGuard

import onnx

from modelexport.ir.errors import InputError
from modelexport.ir.io.weights import EXTERNAL, Weights, blocks_of, tensor_bytes
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.proto.places import Place, raw_places
from modelexport.ir.scope import Scope
from modelexport.ir.text import text

KNOWN = frozenset(onnx.TensorProto.DataType.values()) - {onnx.TensorProto.UNDEFINED}  # element types of this onnx
LARGE = 1 << 25  # bytes from which a weight inside the model's file is read from there, and not copied whole
_BLOCK = 1 << 24  # bytes that are read at a time
_SMALL = 4096  # bytes of a constant whose content tells nodes apart from the start; larger ones only break ties


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """An initializer, or the tensor of a Constant node."""

    name: str
    tensor: onnx.TensorProto | onnx.SparseTensorProto

    @property
    def dtype(self) -> int:
        """ONNX's number of the element type."""
        return (self.tensor.values if isinstance(self.tensor, onnx.SparseTensorProto) else self.tensor).data_type

    @property
    def shape(self) -> tuple[int, ...]:
        """The dense shape."""
        return tuple(self.tensor.dims)


@dataclass(frozen=True, slots=True)
class Made:
    """An output of a node."""

    node: Node
    slot: int


@dataclass(frozen=True, slots=True)
class Given:
    """An input of a graph: by name for the main graph, by position for bodies and functions, whose names are free."""

    graph: Scope = field(compare=False)
    key: str | int


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file and what tells whether it is still the one that was read."""

    path: Path
    number: int
    size: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> SourceFile | None:
        """None where there is no such file."""
        try:
            status = path.stat()
        except OSError:
            return None
        return cls(path, status.st_ino, status.st_size, status.st_mtime_ns)


Source = Made | Given | Constant | None  # None: the slot is empty, or nothing defines the value


class Side:
    """One of the two models: its nodes without Constant nodes, and what each of them reads.

    Args:
        rename: prefixes of module paths and what stands for them, for the paths that :meth:`path` gives.
        file: the file that the model is equal to, if it is to one, as it was before it was read: large weights are
            read from it in blocks while it stays as it was.
    """

    def __init__(self, model: Model, rename: Sequence[tuple[str, str]] = (), file: SourceFile | None = None) -> None:
        self.model = model
        self._source = file
        self._file = file.path if file is not None else None
        self._places: Mapping[str, Place] | None = None
        self.weights = Weights(model)
        self._rename = sorted(rename, key=lambda pair: -len(pair[0]))
        self._values: dict[Scope, dict[str, Source]] = {}
        self._sources: dict[Node, Sequence[Source]] = {}
        self._digests: dict[Constant, str] = {}

    def nodes(self, graph: Scope) -> list[Node]:
        """Nodes of one scope that compute."""
        return [node for node in graph.nodes if not is_constant(node)]

    @staticmethod
    def is_fixed(node: Node) -> bool:
        """Whether a node is a constant, which counts as a value and not as a node."""
        return is_constant(node)

    def path(self, node: Node) -> str:
        """The module of a node, as the other side would call it."""
        path = node.attribution.path if node.attribution is not None else ""
        return self.renamed(path)

    def renamed(self, path: str) -> str:
        """A module's path, as the other side would call it."""
        for old, new in self._rename:
            if not old:
                return f"{new}.{path}" if path and new else new or path
            if path == old or path.startswith(f"{old}."):
                return (new + path[len(old) :]).removeprefix(".")
        return path

    def sources(self, node: Node) -> Sequence[Source]:
        """Of every input slot, then of every value that the node's bodies capture."""
        found = self._sources.get(node)
        if found is None:
            graph = node.graph
            known = self._values_of(graph)
            found = self._sources[node] = [
                known[value] if value in known else self._outer(graph, value)
                for value in (*node.inputs, *node.captures)
            ]
        return found

    def source(self, graph: Scope, value: str) -> Source:
        """Where a value comes from, as ``graph`` sees it."""
        known = self._values_of(graph)
        return known[value] if value in known else self._outer(graph, value)

    def _outer(self, graph: Scope, value: str) -> Source:
        around = graph.parent
        return self.source(around, value) if around is not None and value else None

    def outline(self, constant: Constant) -> object:
        """What tells a constant apart without reading much: its content where it is small, else type and shape."""
        tensor = constant.tensor
        if isinstance(tensor, onnx.SparseTensorProto) or tensor.data_type not in KNOWN or tensor_bytes(tensor) > _SMALL:
            return constant.dtype, constant.shape
        return self.digest(constant)

    def digest(self, constant: Constant) -> str:
        """Hash of type, shape and content; "" where the content can't be read."""
        found = self._digests.get(constant)
        if found is None:
            hasher = hashlib.blake2b(repr((constant.dtype, constant.shape)).encode(), digest_size=16)
            try:
                for block in self.blocks(constant):
                    hasher.update(block)
                found = hasher.hexdigest()
            except InputError:
                found = ""
            self._digests[constant] = found
        return found

    def is_in_file(self, constant: Constant) -> bool:
        """Whether :meth:`stream` can read a constant: one in a file of its own, or a large one in the model's file."""
        tensor = constant.tensor
        return is_external(tensor) or self._place(constant) is not None

    def stream(self, constant: Constant, size: int) -> Iterator[bytes]:
        """The bytes of such a constant in blocks of ``size``. Raises InputError."""
        place = self._place(constant)
        if place is None or self._file is None:
            assert is_external(constant.tensor)
            yield from self.weights.stream(constant.tensor, size)
            return
        try:
            with open(self._file, "rb") as file:
                for block in blocks_of(file, *place, size):
                    if not block:
                        raise InputError(f"{self._file}: became shorter while it was read")
                    yield block
        except OSError as error:
            raise InputError(f"{self._file}: can't be read: {error.strerror or error}") from error

    def _place(self, constant: Constant) -> Place | None:
        """Where a large weight is in the model's file; None where it is small, or not known to be there."""
        tensor = constant.tensor
        if self._file is None or not isinstance(tensor, onnx.TensorProto) or is_external(tensor):
            return None
        if tensor.data_type not in KNOWN or tensor_bytes(tensor) <= LARGE or not tensor.HasField("raw_data"):
            return None
        if self.weights.find(self.model.main, constant.name) is not tensor:  # of a body, or of a Constant node
            return None
        if self._places is None:
            try:
                with open(self._file, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
                    self._places = raw_places(data) if SourceFile.of(self._file) == self._source else {}
            except (OSError, ValueError):  # a pipe, or gone: then it is copied from memory
                self._places = {}
        place = self._places.get(constant.name)
        return place if place is not None and place[1] - place[0] == tensor_bytes(tensor) else None

    def blocks(self, constant: Constant) -> Iterator[memoryview | bytes]:
        """The bytes of a constant in blocks; those in files are read block by block. Raises InputError."""
        tensor = constant.tensor
        if self.is_in_file(constant):
            yield from self.stream(constant, _BLOCK)
            return
        if isinstance(tensor, onnx.TensorProto) and tensor.HasField("raw_data"):
            data = memoryview(tensor.raw_data)
        else:
            array = self.weights.array(tensor)
            data = memoryview(repr(array.tolist()).encode() if array.dtype.kind == "O" else array.tobytes())
        yield from (data[start : start + _BLOCK] for start in range(0, len(data), _BLOCK))

    def _values_of(self, scope: Scope) -> dict[str, Source]:
        """Every value that a scope itself defines; what a node makes goes before an initializer of the same name."""
        found = self._values.get(scope)
        if found is None:
            found = self._values[scope] = {"": None}
            keys: Sequence[str | int] = scope.inputs if scope.kind == "main" else range(len(scope.inputs))
            found.update((name, Given(scope, key)) for name, key in zip(scope.inputs, keys, strict=True) if name)
            if isinstance(scope.proto, onnx.GraphProto):
                tensors: list[onnx.TensorProto | onnx.SparseTensorProto] = list(scope.proto.initializer)
                tensors += scope.proto.sparse_initializer
                pairs = reversed(list(zip(scope.initializers, tensors, strict=True)))  # the first of a name counts
                found.update((name, Constant(name, tensor)) for name, tensor in pairs if name)
            for node in scope.nodes:
                made = constant_tensor(node) if is_constant(node) else None
                for slot, value in enumerate(node.outputs):
                    if value and scope.producer(value) is node:
                        found[value] = Constant(value, made) if made is not None else Made(node, slot)
        return found


def is_external(tensor: onnx.TensorProto | onnx.SparseTensorProto) -> TypeGuard[onnx.TensorProto]:
    """Whether a tensor's data is in a file of its own."""
    return isinstance(tensor, onnx.TensorProto) and tensor.data_location == EXTERNAL


def is_constant(node: Node) -> bool:
    """Whether a node is ONNX's Constant with a value of its own (not one of a function's attribute)."""
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx") or len(node.outputs) != 1:
        return False
    return not any(attribute.ref_attr_name for attribute in node.attribute_protos())


def constant_tensor(node: Node) -> onnx.TensorProto | onnx.SparseTensorProto | None:
    """The value of a Constant node, whichever attribute holds it."""
    kinds = onnx.TensorProto
    for attribute in node.attribute_protos():
        name = text(attribute.name)
        if name == "value":
            return attribute.t
        if name == "sparse_value":
            return attribute.sparse_tensor
        if name in ("value_float", "value_floats"):
            floats = [attribute.f] if name == "value_float" else list(attribute.floats)
            return onnx.helper.make_tensor("", kinds.FLOAT, [] if name == "value_float" else [len(floats)], floats)
        if name in ("value_int", "value_ints"):
            integers = [attribute.i] if name == "value_int" else list(attribute.ints)
            return onnx.helper.make_tensor("", kinds.INT64, [] if name == "value_int" else [len(integers)], integers)
        if name in ("value_string", "value_strings"):
            strings = [attribute.s] if name == "value_string" else list(attribute.strings)
            dims = [] if name == "value_string" else [len(strings)]
            return onnx.TensorProto(data_type=kinds.STRING, dims=dims, string_data=strings)
    return None
