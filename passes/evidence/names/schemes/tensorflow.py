"""TensorFlow and its converters: ``model/dense/MatMul``, value ``model/dense/MatMul:0``.

A node is named after the name scopes it was made in; the last atom is the operation. tf2onnx puts ``__7`` after the
name of a helper and ``_Gemm__6`` after that of an operation it merged others into.
"""

from __future__ import annotations

import re

from modelexport.passes.evidence.names.schemes.interface import MAX_DEPTH, MAX_NAME, Scheme, Scope

_ATOM = re.compile(r"[A-Za-z0-9._\->]*[A-Za-z_][A-Za-z0-9._\->]*")
_OPERATION = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OUTPUT = re.compile(r":\d+$")
_HELPER = re.compile(r"__\d+$")
_COUNTED = re.compile(r"[A-Z][A-Za-z0-9]*__\d+")
_MADE = re.compile(r"_[A-Z][A-Za-z]*$|_graph_outputs_Identity$|_(?:weights|bias)_fused_bn$")
_CONDITION = re.compile(r"cond___|(?:[^/]*_)?while_cond(?:_frozen)?_\d+_(?=[^/]+/)")
_WRAPPER = re.compile(r"(?:Stateful)?PartitionedCall(?:_\d+)?")
_NUMBER = re.compile(r"(?:_\d+)+$")
_READ = re.compile(r"(?:ReadVariableOp|Read|resource|Identity)(?:_\d+)?")
# Functions of the framework that open a scope of their own.
_INNER = frozenset(("Tensordot", "batchnorm", "moments", "Gelu", "convolution", "depthwise", "einsum"))
_INNER |= {"separable_conv2d", "while", "Repeat", "Cast", "zeros", "ones", "TensorArrayV2Read", "TensorArrayV2Write"}
_SHADOW = frozenset(("while", "body", "cond"))


class TensorFlow(Scheme):
    """Name scopes, as graphs, Keras models and SavedModels have them."""

    name = "tensorflow"

    def scope(self, name: str, op_type: str) -> Scope | None:
        """See the base class."""
        if "/" not in name or len(name) > MAX_NAME or name.count("/") > MAX_DEPTH:
            return None
        name = _OUTPUT.sub("", name)
        helper = _HELPER.search(name)
        made = None
        if helper is not None:
            name = name[: helper.start()]
            made = _MADE.search(name)
            if made is not None:
                name = name[: made.start()]
        condition = _CONDITION.match(name)
        name = name[condition.end() :] if condition is not None else name
        *atoms, operation = name.split("/")
        if not _OPERATION.fullmatch(operation) or not all(map(_ATOM.fullmatch, atoms)):
            return None
        if any(map(_COUNTED.fullmatch, atoms)):  # a tool put more behind the name of a converter's node
            return None
        return Scope(self.kept(atoms), operation, helper is not None and made is None)

    def weight(self, name: str) -> tuple[str, ...] | None:
        """See the base class."""
        if "/" not in name or len(name) > MAX_NAME or name.count("/") > MAX_DEPTH:
            return None
        atoms = _HELPER.sub("", _OUTPUT.sub("", name)).removeprefix("ConstantFolding/").split("/")
        whole = len(atoms)
        while len(atoms) > 1 and _READ.fullmatch(atoms[-1]):
            atoms.pop()
        if len(atoms) == whole:
            atoms.pop()
        return self.kept(atoms) if all(map(_ATOM.fullmatch, atoms)) else None

    def kept(self, atoms: list[str]) -> tuple[str, ...]:
        """``atoms`` without those that only say how the graph was called."""
        return tuple(atom for atom in atoms if atom not in _SHADOW and not _WRAPPER.fullmatch(atom))

    def is_inner(self, atom: str) -> bool:
        """See the base class."""
        return _NUMBER.sub("", atom) in _INNER
