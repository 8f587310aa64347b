"""Nodes that onnxruntime's dynamic quantiser splits before it looks at its lists of names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_PRODUCT = "_MatMul"  # what it puts behind the name
_PLAIN: dict[str, float] = {"alpha": 1.0, "beta": 1.0, "transA": 0}


def with_products(nodes: Iterable[tuple[str, str, str, Mapping[str, Any]]]) -> list[str]:
    """The names by which lists for onnxruntime's quantisers mean these nodes.

    ``quantize_dynamic`` makes every plain Gemm a MatMul, called ``<name>_MatMul``, and an Add; a list with the old name
    alone would say nothing of it. The other quantisers know the old name. A name that is not in a model is ignored.

    Args:
        nodes: name, operator, domain and attributes of each.
    """
    names = []
    for name, op_type, domain, attributes in nodes:
        names.append(name)
        plain = all(attributes.get(key, value) == value for key, value in _PLAIN.items())
        if op_type == "Gemm" and domain in ("", "ai.onnx") and plain:
            names.append(name + _PRODUCT)
    return names
