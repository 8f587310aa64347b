"""A model as Model Explorer reads it: graphs with namespaces, and numbers as node data files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelexport.ir.attribution import Source
from modelexport.ir.modules.tags import encode
from modelexport.ir.scope import Scope
from modelexport.ir.text import readable
from modelexport.views.attribute_text import AttributeTexts
from modelexport.views.data import ViewData, ViewModule, ViewNode, graph_ids, node_ids
from modelexport.views.overlays import Overlay

# Colours of the page's scheme, which stay apart for colour-blind readers.
_SOURCE_COLOURS = {
    Source.SCOPE: "#77aadd",
    Source.REFERENCE: "#44bb99",
    Source.VALUE: "#99ddff",
    Source.PARAMETER: "#bbcc33",
    Source.INHERITED: "#eedd88",
    Source.FALLBACK: "#ee8866",
}
_GRADIENT = [{"stop": 0, "bgColor": "#fff7d6"}, {"stop": 0.5, "bgColor": "#fb9a29"}, {"stop": 1, "bgColor": "#8c2d04"}]


def model_explorer(data: ViewData, overlays: Sequence[Overlay] = ()) -> dict[str, Any]:
    """The graph collection: one graph for the main graph, each body and each function that has nodes shown.

    Namespaces are called modules. Inputs and outputs of a graph are nodes; weights are attributes of their readers.
    """
    return _Collection(data, overlays).document()


def node_data(data: ViewData, overlays: Sequence[Overlay] = ()) -> dict[str, dict[str, Any]]:
    """Node data documents by name: every overlay, ``source`` and ``confidence``."""
    collection = _Collection(data, overlays)
    found: dict[str, dict[str, Any]] = {}
    confidence, source = "confidence", "source"
    for overlay in overlays:
        values = {index: {"value": value} for index, value in overlay.nodes.items() if math.isfinite(value)}
        found[overlay.name] = collection.results(values, overlay.name, _GRADIENT)
    known = [(node.index, node.attribution) for node in data.nodes]
    rows: dict[int, dict[str, Any]] = {
        index: {"value": str(each.source), "bgColor": _SOURCE_COLOURS[each.source]} for index, each in known if each
    }
    found[_free(source, found)] = collection.results(rows, source, [])
    numbers = {index: {"value": round(each.confidence, 2)} for index, each in known if each}
    found[_free(confidence, found)] = collection.results(numbers, confidence, _GRADIENT[::-1])
    return found


def _free(name: str, taken: Mapping[str, object]) -> str:
    return f"{name} (tags)" if name in taken else name


class _Collection:
    """Ids of graphs and nodes, and what is written of them."""

    def __init__(self, data: ViewData, overlays: Sequence[Overlay]) -> None:
        self.data, self.overlays = data, overlays
        self.graphs = graph_ids(data)
        self.namespaces: list[str] = []
        for module in data.modules:
            above = self.namespaces[module.parent] if module.parent >= 0 else ""
            segment = encode(readable(module.name)) if module.parent >= 0 else ""
            self.namespaces.append(f"{above}/{segment}" if above else segment)
        self.by_graph: dict[Scope, list[ViewNode]] = {graph: [] for graph in self.graphs}
        for node in data.nodes:
            self.by_graph[node.node.graph].append(node)
        self.ids = node_ids(data)
        self.texts = AttributeTexts(data.model)

    def document(self) -> dict[str, Any]:
        graphs = [self._graph(graph, name) for graph, name in self.graphs.items()]
        return {"label": self.data.title, "graphs": graphs}

    def results(
        self, values: Mapping[int, Mapping[str, Any]], name: str, gradient: list[dict[str, Any]]
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for graph, graph_name in self.graphs.items():
            results = {
                self.ids[node.index]: values[node.index] for node in self.by_graph[graph] if node.index in values
            }
            if results:
                found[graph_name] = {"results": results, "name": readable(name)}
                if gradient:
                    found[graph_name]["gradient"] = gradient
        return found

    def _graph(self, graph: Scope, name: str) -> dict[str, Any]:
        nodes: list[dict[str, Any]] = []
        taken = {self.ids[node.index] for node in self.by_graph[graph]}
        made: dict[str, tuple[str, int]] = {}
        types = {value.name: value.type for value in self.data.values if value.maker < 0}
        for value in graph.inputs:
            if value not in graph.initializers_set:
                shown = readable(value)
                identity = _unique(f"input:{shown}", taken)
                made[value] = (identity, 0)
                nodes.append(_end(identity, "Input", shown, types.get(shown, ""), []))
        for node in self.by_graph[graph]:
            for slot, value in enumerate(node.node.outputs):
                if value:
                    made[value] = (self.ids[node.index], slot)
        nodes += [self._node(node, made) for node in self.by_graph[graph]]
        for value in dict.fromkeys(graph.outputs):
            shown = readable(value)
            edges = [_edge(made[value], 0)] if value in made else []
            nodes.append(_end(_unique(f"output:{shown}", taken), "Output", shown, "", edges))
        used = {node.module for node in self.by_graph[graph]}
        return {"id": name, "nodes": nodes, "groupNodeAttributes": dict(self._groups(used))}

    def _node(self, shown: ViewNode, made: Mapping[str, tuple[str, int]]) -> dict[str, Any]:
        node, module = shown.node, self.data.modules[shown.module]
        read = (*node.inputs, *node.captures)
        entry: dict[str, Any] = {
            "id": self.ids[shown.index],
            "label": readable(node.op_type),
            "namespace": self.namespaces[shown.module],
            "attrs": [{"key": key, "value": value} for key, value in self._attributes(shown, module)],
            "incomingEdges": [_edge(made[value], slot) for slot, value in enumerate(read) if value in made],
            "outputsMetadata": [
                _output(slot, self.data.values[value].name, self.data.values[value].type)
                for slot, value in enumerate(shown.outputs)
            ],
        }
        inner = [self.graphs[body] for body in node.bodies if body in self.graphs]
        called = self.data.model.function(node.domain, node.op_type, node.overload)
        if called is not None and called in self.graphs:
            inner.append(self.graphs[called])
        if inner:
            entry["subgraphIds"] = inner
        return entry

    def _attributes(self, shown: ViewNode, module: ViewModule) -> Iterator[tuple[str, str]]:
        attribution = shown.attribution
        yield "module", readable(module.path) or "."
        yield "class", readable(module.cls)
        yield "tag", readable(module.tag)
        if attribution is not None:
            yield "source", str(attribution.source)
            yield "rule", attribution.rule
            yield "confidence", f"{attribution.confidence:.2f}"
        if shown.node.domain:
            yield "domain", readable(shown.node.domain)
        for slot, value in enumerate(shown.inputs):
            if value >= 0 and self.data.values[value].kind == "weight":
                yield (
                    f"input {slot}",
                    f"{self.data.values[value].name} {readable(self.data.values[value].type)}".rstrip(),
                )
        for overlay in self.overlays:
            if shown.index in overlay.nodes:
                yield readable(overlay.name), overlay.text(overlay.nodes[shown.index])
        yield from self.texts.of(shown.node)

    def _groups(self, used: set[int]) -> Iterator[tuple[str, dict[str, str]]]:
        modules = self.data.modules
        around = set(used)
        for index in used:
            while (index := modules[index].parent) >= 0 and index not in around:
                around.add(index)
        for module in (modules[index] for index in sorted(around)):
            entry = {
                "path": readable(module.path) or ".",
                "class": readable(module.cls),
                "tag": readable(module.tag),
                "nodes": str(module.own),
                "nodes inside": str(module.inside),
                "parameters": str(module.parameters),
            }
            for overlay in self.overlays:
                if module.index in overlay.modules:
                    entry[readable(overlay.name)] = overlay.text(overlay.modules[module.index])
            yield self.namespaces[module.index], entry


def _unique(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "~"
    taken.add(name)
    return name


def _edge(source: tuple[str, int], slot: int) -> dict[str, str]:
    return {"sourceNodeId": source[0], "sourceNodeOutputId": str(source[1]), "targetNodeInputId": str(slot)}


def _output(slot: int, name: str, kind: str) -> dict[str, Any]:
    attributes = [{"key": "tensor_name", "value": name}]
    if kind:
        attributes.append({"key": "tensor_shape", "value": readable(kind)})
    return {"id": str(slot), "attrs": attributes}


def _end(identity: str, label: str, name: str, kind: str, edges: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "id": identity,
        "label": label,
        "namespace": "",
        "attrs": [{"key": "name", "value": name}],
        "incomingEdges": edges,
        "outputsMetadata": [] if edges or label == "Output" else [_output(0, name, kind)],
    }


def to_json(document: Mapping[str, Any]) -> str:
    """A document as the text of a file."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n"
