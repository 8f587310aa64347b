"""What initializer names say about modules: ``encoder.layer.0.query.weight`` belongs to ``encoder.layer.0.query``."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Set

import onnx

from modelexport.ir.model import Model
from modelexport.ir.text import text
from modelexport.passes.evidence.names.counted import Counted, parameter_names
from modelexport.passes.evidence.names.prefixes import Prefixes

_FOREIGN = frozenset("/:; \t\n\\")
_FLOATS = {1: 4, 10: 2, 11: 8, 16: 2}  # bytes of an element, by ONNX's number of the type
_GLANCE = 4096
_USUAL = re.compile(r"(?:[A-Za-z0-9_]+\.)+[A-Za-z_][A-Za-z0-9_]*")
# What onnxruntime's fusions put before the names of weights they make: ConvBnFusion_W_, ConvBnFusion_BN_B_.
_FUSED = re.compile(r"[A-Za-z]+Fusion_(?:(?:Add|BN|Mul)_[A-Z]|[A-Za-z]+)_")


def unfused(name: str) -> str:
    """The name of a weight without what a fusion put before it."""
    fused = _FUSED.match(name)
    return name if fused is None else name[fused.end() :]


def owner_of(name: str) -> str | None:
    """Path of the module that owns the parameter ``name``; None where the name is not a dotted parameter name."""
    if _USUAL.fullmatch(name) is not None and len(name) <= 4096 and "Fusion_" not in name:
        return name[: name.rindex(".")]
    if "." not in name or len(name) > 4096 or not _FOREIGN.isdisjoint(name) or not name.isprintable():
        return None
    atoms = unfused(name).split(".")
    if not all(atoms) or (atoms[0].isdigit() and len(atoms) == 2 and atoms[1].isdigit()):
        return None
    atoms.pop()
    if name[-1].isdigit() and name.rpartition(".")[2].isdigit() and len(atoms) > 1:
        atoms.pop()  # an element of a ParameterList: the list itself is never called
    return ".".join(atoms)


def unqualified(path: str) -> str:
    """The trailing atoms of ``path`` from the last one that is not a number: how TorchScript scopes spell a module."""
    head, _, atom = path.rpartition(".")
    while atom.split(".", 1)[0].isdigit() and head:
        head, _, more = head.rpartition(".")
        atom = f"{more}.{atom}"
    return atom


def join(here: str, segment: str) -> str:
    """``here.segment``, where numbers glued to the name of ``here`` itself are its children."""
    if not here:
        return segment
    if not segment[-1:].isdigit() and segment[-1:] != ".":
        return f"{here}.{segment}"
    spelled = unqualified(here) + "."
    if segment.startswith(spelled) and segment[len(spelled) :].replace(".", "").isdigit():
        return f"{here}.{segment[len(spelled) :]}"
    return f"{here}.{segment}"


def crosses(path: str, start: int, called: Set[str]) -> bool:
    """Whether a module of ``called`` is on the way to ``path``, whose atoms are counted from character ``start`` on."""
    end = path.find(".", start)
    while end >= 0:
        if path[start:end] in called:
            return True
        end = path.find(".", end + 1)
    return False


class ParameterIndex:
    """Modules that are known because a parameter is named after them.

    Attributes:
        owner: owning module by initializer name, for names that name one.
        known: every module path that owns a parameter, and every prefix of one.
        owners: the modules that own a parameter themselves.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.owner: dict[str, str] = {}
        self.known: set[str] = set()
        for name in names:
            owner = owner_of(name)
            if owner is not None:
                self.owner[name] = owner
                self.add(owner)
        self.owners: frozenset[str] = frozenset(self.owner.values())
        self._by_spelling: dict[str, list[str]] | None = None

    @classmethod
    def of(cls, model: Model) -> ParameterIndex:
        """The index of every initializer of ``model``, at every depth, and of weights that Constant nodes hold.

        A name that a converter counted up names no module, nor does that of a shape or an axis.

        Exporters merge equal initializers. TorchScript then copies the one that is left to the other names through
        Identity nodes, which count as those parameters; and one that several nodes read and that has the same value
        everywhere, such as a bias of zeros, may be anyone's: its name makes a module known but places no node.

        Nobody may change the index: all who ask for that of one model share it.
        """
        return model.derived(_index_of)

    def add(self, path: str) -> None:
        """Make ``path`` and its prefixes known."""
        if path not in self.known:
            self._by_spelling = None
            while path and path not in self.known:
                self.known.add(path)
                path = path.rpartition(".")[0]

    def spelled_below(self, path: str, spelling: str) -> list[str]:
        """Known paths below ``path`` that TorchScript scopes spell as ``spelling``."""
        every = self.spelled(spelling)
        if not path or not every:
            return every
        start = bisect_left(every, path + ".")
        stop = bisect_left(every, path + "/", start)  # the character after the dot
        return every[start:stop]

    def spelled(self, spelling: str) -> list[str]:
        """Known paths that TorchScript scopes spell as ``spelling``."""
        if self._by_spelling is None:
            index: dict[str, list[str]] = defaultdict(list)
            for path in sorted(self.known):
                index[unqualified(path)].append(path)
            self._by_spelling = index
        return self._by_spelling.get(spelling, [])


def _index_of(model: Model) -> ParameterIndex:
    prefixes = Prefixes.of(model)
    renamed = bool(prefixes)
    counted = Counted(model)
    index = ParameterIndex(())
    for name in parameter_names(model):
        owner = owner_of(prefixes.parameter_name(name) if renamed else name)
        if owner is not None and not counted.has(name):
            index.owner[name] = owner
            index.add(owner)
    index.owners = frozenset(index.owner.values())
    weights = Weights(model)
    for graph in model.graphs():
        for name in graph.initializers:
            readers = graph.consumers(name)
            if len(readers) < 2:
                continue
            copies = [node.first_output for node in readers if node.op_type == "Identity"]
            for copy in copies:
                owner = owner_of(copy)
                if owner is not None:
                    index.owner[copy] = owner
                    index.add(owner)
            if name in index.owner and not copies and weights.is_uniform(name):
                del index.owner[name]
    return index


class Weights:
    """Initializers that weigh something: tensors of at least two elements, told apart by their first bytes."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._tensors: dict[str, onnx.TensorProto] | None = None

    def _weights(self) -> dict[str, onnx.TensorProto]:
        return {
            text(tensor.name): tensor
            for graph in self._model.graphs()
            if isinstance(graph.proto, onnx.GraphProto)
            for tensor in graph.proto.initializer
            if tensor.data_type in _FLOATS and any(extent > 1 for extent in tensor.dims)
        }

    def _find(self, name: str) -> onnx.TensorProto | None:
        if self._tensors is None:
            self._tensors = self._weights()
        return self._tensors.get(name)

    def is_uniform(self, name: str) -> bool:
        """Whether a weight is in the file and has one value everywhere."""
        tensor = self._find(name)
        if tensor is None or tensor.external_data:
            return False
        if not tensor.HasField("raw_data"):
            values = tensor.float_data or tensor.double_data or tensor.int32_data
            return len(set(values)) == 1
        raw, size = tensor.raw_data, _FLOATS[tensor.data_type]
        first = raw[:size]
        head = raw[:_GLANCE]
        return bool(first) and head == first * (len(head) // size) and raw == first * (len(raw) // size)

    def first_row(self, name: str) -> tuple[object, ...]:
        """Type, turned shape and first row of a matrix, as :meth:`first_columns` has them; none where it is uniform."""
        held = self._matrix(name)
        if held is None or self.is_uniform(name):
            return ()
        tensor, size = held
        return tensor.data_type, *tuple(tensor.dims)[::-1], tensor.raw_data[: tensor.dims[1] * size]

    def first_columns(self, names: Iterable[str]) -> dict[tuple[object, ...], list[str]]:
        """Those of ``names`` that are matrices, by type, shape and first column."""
        found: dict[tuple[object, ...], list[str]] = defaultdict(list)
        for name in names:
            held = self._matrix(name)
            if held is not None:
                tensor, size = held
                raw, width = tensor.raw_data, tensor.dims[1] * size
                column = b"".join([raw[start : start + size] for start in range(0, len(raw), width)])
                found[tensor.data_type, *tensor.dims, column].append(name)
        return found

    def _matrix(self, name: str) -> tuple[onnx.TensorProto, int] | None:
        """A weight of two dimensions whose elements are in the file, and the bytes of one."""
        tensor = self._find(name)
        if tensor is None or len(tensor.dims) != 2 or not tensor.raw_data:
            return None
        size = _FLOATS[tensor.data_type]
        return (tensor, size) if len(tensor.raw_data) == tensor.dims[0] * tensor.dims[1] * size else None

    def fingerprint(self, name: str) -> str:
        """Equal for weights with equal shape and equal first bytes; external data is told apart by its place.

        Empty for what is no weight, and for one with the same value everywhere.
        """
        tensor = self._find(name)
        if tensor is None or self.is_uniform(name):
            return ""
        where = ";".join(f"{entry.key}={entry.value}" for entry in tensor.external_data)
        head = tensor.raw_data[:256] if tensor.HasField("raw_data") else tensor.SerializeToString()[:512]
        return f"{tensor.data_type}:{list(tensor.dims)}:{where}:{head.hex()}"
