"""PaddlePaddle: layers are counted by class, and their weights named ``linear_3.w_0``, their values ``linear_3.tmp_0``.

Attribute paths are nowhere in such a file. Values of its newer form, ``p2o.pd_op.conv2d.1.0``, are counted by operator
and name nothing; but where the weights of a normalisation were folded, its number among its like is all that is left.
"""

from __future__ import annotations

import re

from modelexport.passes.evidence.names.schemes.interface import Scheme, Scope

_WEIGHT = re.compile(r"([A-Za-z]\w*?_\d+)\.(?:w|b|bias|weight)_\d+(?:\W.*|_\w*)?")
_VALUE = re.compile(r"([A-Za-z]\w*?_\d+)\.tmp_\d+(?:\W.*|_\w*)?")
_ORDER = re.compile(r"p2o\.pd_op\.(\w*?norm\w*?)_?\.(\d+)\.\d+")

_MADE = re.compile(r"(?:helper|auto|p2o)\.\w+\.")


class Paddle(Scheme):
    """Counters of layers."""

    name = "paddle"
    operators = False
    closed = True

    def scope(self, name: str, op_type: str) -> Scope | None:
        """See the base class."""
        match = _VALUE.fullmatch(name)
        return Scope((match[1],), "") if match is not None else None

    def is_made(self, name: str) -> bool:
        """See the base class."""
        return _MADE.match(name) is not None

    def is_inside(self, name: str) -> bool:
        """See the base class."""
        return name.startswith("helper.")

    def order(self, name: str) -> Scope | None:
        """See the base class."""
        match = _ORDER.fullmatch(name)
        return Scope((f"{match[1]}_{match[2]}",), "") if match is not None else None

    def weight(self, name: str) -> tuple[str, ...] | None:
        """See the base class."""
        match = _WEIGHT.fullmatch(name)
        return (match[1],) if match is not None else None
