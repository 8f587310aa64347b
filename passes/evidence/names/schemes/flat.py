"""Flat names, a module per node: ``stage1_conv1``, weights ``stage1_conv1_weight``, as MXNet and Caffe write.

Darknet and older Keras converters do the same with other endings (``conv2d_1/kernel:0``, ``conv1_W``).
"""

from __future__ import annotations

import re

from modelexport.passes.evidence.names.schemes.interface import MAX_DEPTH, MAX_NAME, Scheme, Scope

_NAME = re.compile(r"[A-Za-z0-9][\w-]*(?:/[A-Za-z0-9][\w-]*)*")
_PARAMETERS = (
    "weights? bias(?:es)? gamma beta mean var(?:iance)? moving_(?:mean|var|variance) running_(?:mean|var) scale alpha "
    "kernel W b w B conv_weights conv_bias bn_scale bn_bias bn_mean bn_var"
).replace(" ", "|")
_WEIGHT = re.compile(rf"(.+?)[_/](?:{_PARAMETERS})(?::\d+)?")


class Flat(Scheme):
    """A node's name is its module's."""

    name = "flat"
    operators = False
    values = False

    def scope(self, name: str, op_type: str) -> Scope | None:
        """See the base class. A name that counts operators, ``Relu_12`` or ``PushTranspose_1``, names none."""
        atoms = _atoms(name)
        last = atoms[-1].rstrip("0123456789").rstrip("_") if atoms is not None else ""
        if atoms is None or last == op_type or (last.endswith(op_type) and last[: -len(op_type)].istitle()):
            return None
        return Scope(atoms, "")

    def weight(self, name: str) -> tuple[str, ...] | None:
        """See the base class."""
        match = _WEIGHT.fullmatch(name) if len(name) < MAX_NAME else None
        return _atoms(match[1]) if match is not None else None

    def fits(self, atoms: tuple[str, ...], node: str, value: str) -> bool:
        """See the base class."""
        return _atoms(node) == atoms


def _atoms(name: str) -> tuple[str, ...] | None:
    if len(name) > MAX_NAME or name.count("/") > MAX_DEPTH or _NAME.fullmatch(name) is None:
        return None
    return tuple(name.split("/"))
