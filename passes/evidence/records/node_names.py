"""Scopes in the names that torch's TorchScript exporter gives to nodes and values.

A node is named ``/encoder/layer.0/attention/MatMul_1`` and its outputs ``<node name>_output_0``. A segment is the
module's attribute, numeric atoms glued to the last name before them; ``_N`` is added to the segment of the N-th further
call and to the N-th further operator of a type. Optimisers keep these names and decorate them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import onnx.defs

_DECORATED = re.compile(r"([A-Z][A-Za-z0-9]*?)(?:_.*)?$")
_CALL = re.compile(r"(.+)_([1-9][0-9]*)$")
MAX_NAME, MAX_DEPTH = 8192, 256
FUSED = "fused /"  # how onnxruntime begins the name of an operator with its activation
_SEPARATORS = "/_:"
_MAX_CUTS = 12


def scope_of_name(name: str, op_type: str) -> str | None:
    """The scope in a node's name (``""`` is the root), or None where the name has none.

    ``op_type`` is only used to tell quickly that the last segment is the operator.
    """
    if not name or len(name) > MAX_NAME or name.count("/") > MAX_DEPTH:
        return None
    if name[0] != "/":
        return scope_of_name(name[6:], "") if name.startswith(FUSED) else None
    cut = name.rfind("/")
    tail = name[cut + 1 :]
    if tail == op_type or (tail.startswith(op_type) and op_type and tail[len(op_type) + 1 :].isdigit()):
        return name[:cut]
    return _decorated_scope(name)


def plain_scope(name: str, op_type: str) -> str | None:
    """The scope in a name that ends in the operator itself, as the exporter writes it; None for any other name."""
    if name[:1] != "/":
        if not name.startswith(FUSED):
            return None
        name = name[6:]
    scope, _, tail = name.rpartition("/")
    if tail != op_type and not (tail.startswith(op_type + "_") and tail[len(op_type) + 1 :].isdigit()):
        return None
    return scope if len(name) <= MAX_NAME and name.count("/") <= MAX_DEPTH else None


def is_whole(name: str, scope: str) -> bool:
    """Whether ``name`` is what the exporter called an operator in ``scope``, with nothing added: ``/conv/Conv_1``."""
    operator, _, number = name[len(scope) + 1 :].partition("_")
    return name.startswith(f"{scope}/") and operator in _operators() and (number.isdigit() or not number)


def name_decides(name: str, output: str) -> bool:
    """Whether only the name of a fused node says where it is from: its output is called as the user called it."""
    return scope_of_name(name, "") is not None and scope_of_value(output) is None


def scope_of_value(value: str) -> tuple[str, str] | None:
    """The scope in a value's name and the operator that made it, or None where it has none."""
    if not value or value[0] != "/" or len(value) > MAX_NAME or value.count("/") > MAX_DEPTH:
        return None
    cut = value.rfind("_output_")
    scope = _decorated_scope(value[:cut]) if cut > 0 else None
    return None if scope is None else (scope, operator_of_name(value, scope))


def operator_of_name(name: str, scope: str) -> str:
    """The operator that ``name`` spells after its scope."""
    name = name.removeprefix("fused ")
    return re.split("[_/]", name[len(scope) + 1 :], maxsplit=1)[0]


def _decorated_scope(name: str) -> str | None:
    """Cut ``name`` at its last segment that is an operator; what follows is what optimisers added."""
    segments = name.split("/")
    operators = _operators()
    for index in range(len(segments) - 1, 0, -1):
        match = _DECORATED.match(segments[index])
        if match is not None and match[1] in operators:
            return "/".join(segments[:index])
    last = segments[-1]
    if last[:1].isupper() and len(segments) > 1:  # an operator of a custom domain
        return "/".join(segments[:-1])
    return None


@cache
def _operators() -> frozenset[str]:
    return frozenset(schema.name for schema in onnx.defs.get_all_schemas()) | {"FusedMatMul", "FusedConv", "FusedGemm"}


def shorter_names(name: str) -> Iterator[str]:
    """``name`` and what is left of it when its end is cut off piece by piece: optimisers add to names at the end."""
    yield name
    for _ in range(_MAX_CUTS):
        cut = max(name.rfind(separator) for separator in _SEPARATORS)
        if cut <= 0:
            return
        name, piece = name[:cut], name[cut + 1 :]
        if not piece.isdigit():  # a number is what tells this name from the shorter one
            yield name


def split_call(segment: str) -> tuple[str, int] | None:
    """``("fc", 2)`` for ``fc_2``: a segment that may be a further call of another; None where it can't be."""
    match = _CALL.match(segment) if segment[-1:].isdigit() else None
    return (match[1], int(match[2])) if match is not None and len(match[2]) < 7 else None
