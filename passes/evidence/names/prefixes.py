"""Prefixes that composing tools put before every name: ``encoder//fc/Gemm``, ``Inline_0__/fc/Gemm``.

A prefix is seen in names that are TorchScript's behind it: the node ends in its operator and its output is called
``<node>_output_0``; where nodes lost their names, in that. Each prefix is one model; where a file holds more than one,
each hangs under a segment of its own.
"""

from __future__ import annotations

import re
from collections import Counter

from modelexport.ir.model import Model
from modelexport.passes.evidence.records.node_names import FUSED, scope_of_name

_OUTPUT = re.compile(r"_output_\d+$")
_FEWEST, _MOST, _WHOLE, _LIMIT = 2, 0.5, 0.9, 256


class Prefixes:
    """The prefixes of one file's names, and the names without them."""

    def __init__(self, segments: dict[str, str]) -> None:
        self._segments = segments  # by prefix; "" where the file holds one model
        self._longest = sorted(segments, key=len, reverse=True)

    def __bool__(self) -> bool:
        return bool(self._segments)

    @classmethod
    def of(cls, model: Model) -> Prefixes:
        """The prefixes of ``model``, none where its names begin with a slash or have none."""
        return model.derived(cls._read)

    @classmethod
    def _read(cls, model: Model) -> Prefixes:
        torch, every = Counter[str](), Counter[str]()
        named = 0
        for node in model.nodes():
            name, made = node.name, _OUTPUT.search(node.first_output)
            if not name and made is not None:
                name = node.first_output[: made.start()]
            named += bool(name)
            if name[:1] == "/" or "/" not in name or name.startswith(FUSED):
                continue
            prefix = _prefix(name)
            every[prefix] += 1
            if made is not None and scope_of_name(name[len(prefix) :], node.op_type) is not None:
                torch[prefix] += 1
        found = [p for p, count in torch.items() if count >= _FEWEST and count >= _MOST * every[p]]
        if not found or len(found) > _LIMIT:
            return cls({})
        if len(found) == 1 and every[found[0]] >= _WHOLE * named:
            return cls({found[0]: ""})
        segments: dict[str, str] = {}
        for prefix in found:
            base = segment = (prefix.strip("/_.") or prefix).replace("%", "%25").replace(".", "%2E").replace("/", "%2F")
            number = 1
            while segment in segments.values():
                number += 1
                segment = f"{base}_{number}"
            segments[prefix] = segment
        return cls(segments)

    def scope_name(self, name: str) -> str:
        """A node's or value's name as TorchScript would have made it, the model's segment as its outermost scope."""
        if name[:1] == "/" or "/" not in name:
            return name
        prefix = _prefix(name)
        segment = self._segments.get(prefix)
        if segment is None:
            return name
        return f"/{segment}{name[len(prefix) :]}" if segment else name[len(prefix) :]

    def parameter_name(self, name: str) -> str:
        """An initializer's name as torch would have made it, below the model's segment."""
        for prefix in self._longest:
            if name.startswith(prefix) and len(name) > len(prefix):
                rest, segment = name[len(prefix) :], self._segments[prefix]
                return f"{segment}.{rest}" if segment and rest[0] != "/" else rest
        return name


def _prefix(name: str) -> str:
    at = name.index("/")
    return name[: at + 1] if name[at : at + 2] == "//" else name[:at]
