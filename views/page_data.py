"""What the HTML page is told about a model: columns of small numbers, each distinct text once."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from modelexport.ir.text import readable
from modelexport.views.attribute_text import AttributeTexts, cut
from modelexport.views.data import ViewData, ViewModule
from modelexport.views.overlays import Overlay

_KINDS = {"input": "i", "weight": "w", "outside": "o"}
INFINITE = "inf"


class Column:
    """Positions in a list of distinct things."""

    def __init__(self) -> None:
        self.things: list[Any] = []
        self._known: dict[Hashable, int] = {}

    def add(self, key: Hashable, make: Callable[[], Any] | None = None) -> int:
        """Position of ``key``; what stands there is ``make()``, or ``key`` itself."""
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = len(self.things)
            self.things.append(key if make is None else make())
        return found


def page_data(data: ViewData, overlays: Sequence[Overlay] = (), *, selector: str = "") -> dict[str, Any]:
    """The document that ``page/model.js`` reads; it says there what the columns mean."""
    operators, origins, types, texts = Column(), Column(), Column(), Column()
    columns: dict[str, list[Any]] = {name: [] for name in ("op", "module", "origin", "attributes", "reads", "makes")}
    names: list[str] = []
    keys: dict[int, str] = {}
    attribute_texts = AttributeTexts(data.model)
    starts = _starts(data)
    for node in data.nodes:
        payload, attribution = node.node, node.attribution
        name = readable(payload.name)
        names.append(name)
        position = node.index - starts[node.index]
        if node.key != (name or f"{readable(payload.graph.scope)}#{position}:{readable(payload.op_type)}"):
            keys[node.index] = node.key
        columns["op"].append(operators.add((readable(payload.op_type), readable(payload.domain))))
        columns["module"].append(node.module)
        origin = ("", "", 0) if attribution is None else (
            str(attribution.source), attribution.rule, round(attribution.confidence, 2)
        )  # fmt: skip
        columns["origin"].append(origins.add(origin))
        columns["attributes"].append(texts.add(attribute_texts.of(payload)))
        columns["reads"].append(node.inputs)
        columns["makes"].append(len(node.outputs))
    made = sum(columns["makes"])
    return {
        "title": data.title,
        "file": "" if data.model.path is None else readable(data.model.path.name),
        "selector": selector,
        "total": data.total,
        "modules": _module_columns(data.modules),
        "operators": operators.things,
        "origins": origins.things,
        "attributes": texts.things,
        "graphs": [[readable(graph.scope), count] for graph, count in data.graphs if count],
        "nodes": {**columns, "name": names, "constant": "".join("01"[node.constant] for node in data.nodes)},
        "keys": keys,
        "values": {
            "name": [_value_name(data, names, index) for index in range(len(data.values))],
            "type": [types.add(cut(readable(value.type))) for value in data.values],
            "given": "".join(_KINDS[value.kind] for value in data.values[made:]),
        },
        "types": types.things,
        "results": data.results,
        "overlays": [_overlay(overlay) for overlay in overlays],
    }


def _starts(data: ViewData) -> list[int]:
    """Of every node, the position of the first node of its graph."""
    starts: list[int] = []
    for _, count in data.graphs:
        starts += [len(starts)] * count
    return starts


def _value_name(data: ViewData, names: Sequence[str], index: int) -> str | int:
    """0 for the name that exporters derive from the node's."""
    value = data.values[index]
    if value.maker >= 0 and names[value.maker]:
        slot = index - data.nodes[value.maker].outputs[0]
        if value.name == f"{names[value.maker]}_output_{slot}":
            return 0
    return value.name


def _module_columns(modules: Sequence[ViewModule]) -> dict[str, list[Any]]:
    classes = Column()
    bare: dict[str, str] = {}
    for module in modules:
        bare.setdefault(readable(module.cls), readable(module.class_name))
    tags: list[Any] = []
    for module in modules:
        above = modules[module.parent].tag if module.parent >= 0 else ""
        tag, start = readable(module.tag), readable(above) + "/"
        tags.append([tag[len(start) :]] if module.parent >= 0 and tag.startswith(start) else tag)
    return {
        "parent": [module.parent for module in modules],
        "name": [readable(module.name) if module.parent >= 0 else "" for module in modules],
        "class": [classes.add(readable(module.cls)) for module in modules],
        "tag": tags,
        "calls": [module.calls for module in modules],
        "parameters": [module.parameters for module in modules],
        "classes": [[cls, bare[cls]] for cls in classes.things],
    }


def _overlay(overlay: Overlay) -> dict[str, Any]:
    nodes, modules = sorted(overlay.nodes.items()), sorted(overlay.modules.items())
    return {
        "name": readable(overlay.name),
        "unit": readable(overlay.unit),
        "aggregate": overlay.aggregate,
        "nodes": [[index for index, _ in nodes], [_number(value) for _, value in nodes]],
        "modules": [[index for index, _ in modules], [_number(value) for _, value in modules]],
        "marks": overlay.marks.nodes,
        "other": overlay.marks.other,
        "gone": {index: [readable(line) for line in lines] for index, lines in overlay.marks.gone.items()},
    }


def _number(value: float) -> float | int | str:
    """A number as JSON has it, in nine digits."""
    if not math.isfinite(value):
        return INFINITE if value > 0 else "-" + INFINITE
    if float(value).is_integer():
        return int(value)
    return float(f"{value:.9g}")
