"""Caffe2: weights ``block/conv1_w_0``, values ``block/conv1_1``; nodes have no names."""

from __future__ import annotations

import re

from modelexport.passes.evidence.names.schemes.interface import MAX_DEPTH, MAX_NAME, Scheme, Scope

_WEIGHT = re.compile(r"(.+?)_(?:w|b|s|rm|riv|scale|bias|mean|var)_\d+")
_VALUE = re.compile(r"(.+)_\d+")
_ATOM = re.compile(r"\w+")
_DEVICE = re.compile(r"[cg]pu_\d+")


class Caffe2(Scheme):
    """Blobs, named after the operator that makes them."""

    name = "caffe2"
    operators = False

    def scope(self, name: str, op_type: str) -> Scope | None:
        """See the base class."""
        atoms = _atoms(_VALUE.fullmatch(name))
        return Scope(atoms, "") if atoms is not None else None

    def weight(self, name: str) -> tuple[str, ...] | None:
        """See the base class."""
        return _atoms(_WEIGHT.fullmatch(name))

    def fits(self, atoms: tuple[str, ...], node: str, value: str) -> bool:
        """See the base class."""
        return _atoms(_VALUE.fullmatch(value)) == atoms


def _atoms(match: re.Match[str] | None) -> tuple[str, ...] | None:
    if match is None or len(match[1]) > MAX_NAME or match[1].count("/") > MAX_DEPTH:
        return None
    atoms = match[1].split("/")
    if _DEVICE.fullmatch(atoms[0]):
        atoms = atoms[1:]
    return tuple(atoms) if atoms and all(map(_ATOM.fullmatch, atoms)) else None
