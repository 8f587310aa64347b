"""Prefixes that composing tools put before every name: ``encoder//fc/Gemm``, ``Inline_0__/fc/Gemm``.

A prefix is seen in names that are TorchScript's behind it: the node ends in its operator and its output is called
``<node>_output_0``; where nodes lost their names, in that. torch.export begins all names of nodes with ``node_``. Each
prefix is one model; where a file holds more than one, each hangs under a segment of its own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection

from modelexport.ir.model import Model
from modelexport.passes.evidence.records.node_names import FUSED, MAX_NAME, scope_of_name

_OUTPUT = re.compile(r"_output_\d+$")
_EXPORTED = re.compile(r"([^/].*?)node_\w+")  # all of a name of torch.export behind a prefix
_FEWEST, _MOST, _WHOLE, _LIMIT = 2, 0.5, 0.9, 256


class Prefixes:
    """The prefixes of one file's names, and the names without them."""

    def __init__(self, segments: dict[str, str], exported: Collection[str] = ()) -> None:
        self._segments = segments  # by prefix; "" where the file holds one model
        self._exported = tuple(f"{prefix}node_" for prefix in exported)
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
        exported: dict[str, None] = {}
        named = 0
        for node in model.nodes():
            name = node.name or _named_by(node.first_output)
            named += bool(name)
            if name[:1] == "/" or not name:
                continue
            export = _EXPORTED.fullmatch(name) if len(name) <= MAX_NAME else None
            if export is not None:
                prefix = export[1]
                every[prefix] += 1
                torch[prefix] += node.first_output.startswith(prefix)
                exported[prefix] = None
                continue
            if "/" not in name or name.startswith(FUSED):
                continue
            prefix = _prefix(name)
            every[prefix] += 1
            if _OUTPUT.search(node.first_output) and scope_of_name(name[len(prefix) :], node.op_type) is not None:
                torch[prefix] += 1
        names = [node.name for node in model.nodes() if node.name] if exported else []
        for prefix in exported:  # whose exporter names all nodes so
            if len(exported) > _LIMIT or every[prefix] < _WHOLE * sum(name.startswith(prefix) for name in names):
                del torch[prefix]
        found = [p for p, count in torch.items() if count >= _FEWEST and count >= _MOST * every[p]]
        if not found or len(found) > _LIMIT:
            return cls({})
        if len(found) == 1 and every[found[0]] >= _WHOLE * named:
            return cls({found[0]: ""}, [prefix for prefix in found if prefix in exported])
        segments: dict[str, str] = {}
        for prefix in found:
            base = segment = (prefix.strip("/_.") or prefix).replace("%", "%25").replace(".", "%2E").replace("/", "%2F")
            number = 1
            while segment in segments.values():
                number += 1
                segment = f"{base}_{number}"
            segments[prefix] = segment
        return cls(segments, [prefix for prefix in found if prefix in exported])

    @property
    def segments(self) -> frozenset[str]:
        """The segments of all models in the file; none where it holds one."""
        return frozenset(self._segments.values()) - {""}

    def segment(self, *names: str) -> str:
        """The segment of the model that one of ``names`` is from; "" where the file holds one model."""
        return next((self._segments[p] for p in self._longest for name in names if name.startswith(p)), "")

    def is_exported(self, name: str) -> bool:
        """Whether torch.export made a name that a prefix stands before, so that it is no scope, slash or not."""
        return name.startswith(self._exported)

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


def _named_by(output: str) -> str:
    """The name of a node, as its first output has it; "" where that doesn't tell."""
    made = _OUTPUT.search(output)
    return "" if made is None else output[: made.start()]


def _prefix(name: str) -> str:
    at = name.index("/")
    return name[: at + 1] if name[at : at + 2] == "//" else name[:at]
