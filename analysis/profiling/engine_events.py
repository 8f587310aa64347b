"""What trtexec wrote of a TensorRT engine: a time for each layer, and the ONNX nodes that it was made of.

Sources: ``--exportProfile`` is ``[{"count": runs}, {"name", "timeMs", "averageMs", "medianMs", "percentage"}, ...]``;
``--exportLayerInfo`` is ``{"Layers": [...], "Bindings": [...]}``, whose layers are objects with ``Name``, ``LayerType``
and ``Metadata`` where the engine was built with ``--profilingVerbosity=detailed``, else names.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelexport.analysis.profiling.timings import Timing
from modelexport.ir.errors import InputError
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.text import shown

PROVIDER = "TensorRT"
_ONNX_LAYER = re.compile(r"\[ONNX Layer: (.*?)\](?=[\x1e\x1f]|\Z)", re.DOTALL)
_FOREIGN = re.compile(r"\{ForeignNode\[(.*)\.\.\.(.*)\]\}", re.DOTALL)
_REFORMAT = re.compile(r"\breformat", re.IGNORECASE)


@dataclass(slots=True)
class EngineProfile:
    """Layers with their time, in the order of the file, and how many runs were measured (None: not said)."""

    layers: list[Timing]
    runs: int | None


def is_engine_profile(data: Any) -> bool:
    """Whether a JSON document is what trtexec writes."""
    return isinstance(data, list) and any(
        isinstance(entry, dict) and "name" in entry and not {"medianMs", "averageMs", "timeMs"}.isdisjoint(entry)
        for entry in data
    )


def engine_profile(data: list[Any], layer_types: Mapping[str, str], label: str) -> EngineProfile:
    """The layers of a profile. Raises InputError for an entry without a name or a time."""
    runs: int | None = None
    layers: list[Timing] = []
    for entry in data:
        if not isinstance(entry, dict):
            raise InputError(f"{label}: an entry is no object")
        if "name" not in entry:
            count = entry.get("count")
            runs = count if isinstance(count, int) and count > 0 else runs
            continue
        name = str(entry["name"])
        layers.append(Timing(name, layer_types.get(name, ""), PROVIDER, 1000 * _milliseconds(entry, runs, label)))
    return EngineProfile(layers, runs)


def _milliseconds(entry: Mapping[str, Any], runs: int | None, label: str) -> float:
    for key in ("medianMs", "averageMs", "timeMs"):
        value = entry.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
            return value / (runs or 1) if key == "timeMs" else value
    raise InputError(f"{label}: layer {shown(str(entry['name']))!r} has no time")


@dataclass(slots=True)
class LayerInfo:
    """Of each layer: the names of its ONNX nodes, where the engine says them, and its type."""

    nodes: dict[str, list[str]]
    types: dict[str, str]


def read_layer_info(path: Path) -> LayerInfo:
    """Raises InputError for a file that is not what ``--exportLayerInfo`` writes."""
    data = read_json(path)
    layers = data.get("Layers") if isinstance(data, dict) else data
    if not isinstance(layers, list):
        raise InputError(f"{shown(str(path))}: has no list of Layers")
    info = LayerInfo({}, {})
    for layer in layers:
        if not isinstance(layer, dict) or "Name" not in layer:
            continue
        name = str(layer["Name"])
        info.types[name] = str(layer.get("LayerType") or layer.get("ParameterType") or "")
        found = _ONNX_LAYER.findall(str(layer.get("Metadata") or ""))
        if found:
            info.nodes[name] = found
    return info


def read_json(path: Path) -> Any:
    """A JSON document. Raises InputError."""
    label = shown(str(path))
    try:
        return json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except OSError as error:
        raise InputError(f"{label}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{label}: not JSON: {error}") from error


class LayerNodes:
    """The nodes of a model that a layer was made of."""

    def __init__(self, model: Model, info: LayerInfo | None) -> None:
        self._by_name: dict[str, Node] = {}
        repeated: set[str] = set()
        for node in model.nodes():
            if node.name in self._by_name:
                repeated.add(node.name)
            self._by_name.setdefault(node.name, node)
        for name in (*repeated, ""):
            self._by_name.pop(name, None)
        self._info = info

    def of(self, layer: str) -> list[Node]:
        """Nodes that the layer's metadata name, else those that its name does; none for a reformat."""
        named = self._info.nodes.get(layer) if self._info is not None else None
        if named is not None:
            return list(dict.fromkeys(node for name in named for node in self._named(name)))
        if _REFORMAT.search(layer) and layer not in self._by_name:
            return []
        return list(dict.fromkeys(node for name in _parts(layer) for node in self._named(name)))

    def _named(self, name: str) -> list[Node]:
        found = self._by_name.get(name)
        if found is not None:
            return [found]
        foreign = _FOREIGN.search(name)
        if foreign is None:
            return []
        first, last = (self._by_name.get(part.strip()) for part in foreign.groups())
        return between(first, last) if first is not None and last is not None else []


def _parts(layer: str) -> Iterator[str]:
    """Names in a layer's own: ``a + b``, ``PWN(a, b)``."""
    for part in layer.split(" + "):
        name = part.strip()
        yield name
        while name.startswith("PWN(") and name.endswith(")"):
            name = name[len("PWN(") : -1].strip()
        if name != part.strip():
            for inner in name.split(","):
                yield inner.strip().removeprefix("PWN(").rstrip(")")


def between(first: Node, last: Node) -> list[Node]:
    """Nodes on the ways from ``first`` to ``last``, both included; none where there is no way.

    A foreign node has several ends: those are the first and the last of the nodes by place, so where no way leads from
    one to the other, what stands between them in the file is taken.
    """
    graph = first.graph
    if graph is not last.graph:
        return [first, last]
    forward = _reach(first, lambda node: [r for value in node.outputs if value for r in graph.consumers(value)])
    backward = _reach(last, lambda node: [p for v in (*node.inputs, *node.captures) if (p := graph.producer(v))])
    found = [node for node in graph.nodes if node in forward and node in backward]
    if found:
        return found
    low, high = sorted((graph.position(first), graph.position(last)))
    return [node for node in graph.nodes if low <= graph.position(node) <= high]


def _reach(start: Node, step: Any) -> set[Node]:
    found = {start}
    stack = [start]
    while stack:
        for node in step(stack.pop()):
            if node not in found:
                found.add(node)
                stack.append(node)
    return found
