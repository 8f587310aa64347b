"""Selections in the forms of other tools."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from json.encoder import encode_basestring_ascii
from typing import Any

from modelexport.ir.attribution import Attribution, Source
from modelexport.ir.errors import ConfigError, ModelExportError
from modelexport.ir.identity.keys import node_keys
from modelexport.ir.modules.table import ModuleTable
from modelexport.ir.node import Node
from modelexport.ir.text import readable
from modelexport.passes.selection.selection import Selection
from modelexport.passes.selection.split_nodes import with_products

LISTS = ("names", "modules", "values", "weights")
BY_NAME = ("ort", "olive", "nncf", "modelopt", "tensorrt", "block-list")
INCLUDING = ("ort", "olive")
PRECISIONS = ("fp32", "fp16", "int8")
FORMATS = ("names", "modules", "values", "weights", "table", "json", "ort", "olive", "nncf", "modelopt", "aimet",
           "tensorrt", "block-list")  # fmt: skip


class NamelessError(ModelExportError):
    """A selected node has no name that a tool could know it by."""

    exit_code = 1


def formatted(chosen: Selection, form: str, *, include: bool = False, precision: str = "fp32", text: str = "") -> Any:
    """A selection in a format, as data; ``text`` is the selector it is of.

    Raises:
        ConfigError: there is no such format or precision.
        NamelessError: the format knows nodes by name, and a selected node has none of its own.
    """
    if form in LISTS:
        return getattr(chosen, form)
    if form == "json":
        return document(chosen, text)
    if form == "aimet":
        return {"activation_tensors": chosen.values, "param_tensors": chosen.weights}
    if form not in BY_NAME:
        raise ConfigError(f"no format {form!r} of a selection; known are {', '.join(FORMATS)}")
    names = own_names(chosen)
    if form in INCLUDING:
        named = with_products((node.name, node.op_type, node.domain, node.attributes) for node in chosen.nodes)
        return {"nodes_to_quantize" if include else "nodes_to_exclude": named}
    if form == "nncf":
        return {"ignored_scope": {"names": names, "validate": True}}
    if form == "modelopt":
        return {"nodes_to_exclude": [f"^{re.escape(name)}$" for name in names]}
    if form == "tensorrt":
        return _layer_precisions(names, precision)
    return names


def document(chosen: Selection, text: str) -> dict[str, Any]:
    """The document of ``select.schema.json``. Bytes of names that are not UTF-8 are backslash-escaped."""
    nodes = [
        {
            "key": key,
            "name": readable(node.name),
            "op_type": readable(node.op_type),
            "domain": readable(node.domain),
            "graph": readable(node.graph.scope),
            **_origin(chosen.model.modules, node.attribution),
            "inputs": list(map(readable, node.inputs)),
            "outputs": list(map(readable, node.outputs)),
        }
        for key, node in _keyed(chosen)
    ]
    return {**_head(chosen, text), "nodes": nodes, **_lists(chosen)}


def document_text(chosen: Selection, text: str) -> Iterator[str]:
    """The same as JSON, piece by piece: a line for each node, and what nodes have in common is spelled once.

    All of it is ASCII.
    """
    for key, value in _head(chosen, text).items():
        yield f"{'{' if key == 'format' else ','}\n  {_json(key)}: {_json(value)}"
    yield ',\n  "nodes": ['
    comma = ""
    calls: dict[tuple[str, str, str], str] = {}
    origins: dict[int, str] = {}  # by id: nodes keep their attributions alive
    origin = _Origins(chosen.model.modules)
    for key, node in _keyed(chosen):
        call = (node.op_type, node.domain, node.graph.scope)
        if call not in calls:
            names = zip(("op_type", "domain", "graph"), map(readable, call), strict=True)
            calls[call] = _json(dict(names))[1:-1]
        about = id(node.attribution)
        if about not in origins:
            origins[about] = origin.text(node.attribution)
        middle = f"{calls[call]}, {origins[about]}"
        line = _line(key, node, middle, encode_basestring_ascii)
        yield comma + (_line(key, node, middle, _name) if _HALF in line else line)
        comma = ","
    yield "\n  ]" if comma else "]"
    for key, value in _lists(chosen).items():
        yield f",\n  {_json(key)}: {_json(value)}"
    yield "\n}"


_json = json.JSONEncoder().encode
_HALF = "\\ud"  # how JSON begins what is outside the first 65,536 characters, and what stands for a byte


def _name(value: str) -> str:
    return encode_basestring_ascii(readable(value))


def _line(key: str, node: Node, middle: str, spelled: Callable[[str], str]) -> str:
    name = spelled(node.name)
    return (
        f'\n    {{"key": {name if key is node.name else spelled(key)}, "name": {name}, {middle}, '
        f'"inputs": [{", ".join(map(spelled, node.inputs))}], "outputs": [{", ".join(map(spelled, node.outputs))}]}}'
    )


class _Origins:
    """The fields of attributions as JSON; what many have in common is spelled once."""

    def __init__(self, modules: ModuleTable) -> None:
        self._modules = modules
        self._paths: dict[str, str] = {}
        self._kinds: dict[tuple[Source, float], str] = {}

    def text(self, attribution: Attribution | None) -> str:
        """Without the braces."""
        if attribution is None:
            return _json(_origin(self._modules, None))[1:-1]
        path, kind = attribution.path, (attribution.source, attribution.confidence)
        if kind not in self._kinds:
            fields = _json(_origin(self._modules, attribution))[1:-1]
            self._kinds[kind] = fields[fields.index(', "source": ') :]
        if path not in self._paths:
            self._paths[path] = f'"path": {_name(path)}, "tag": {_name(self._modules.tag(path))}'
        return self._paths[path] + self._kinds[kind]


def _head(chosen: Selection, text: str) -> dict[str, Any]:
    return {
        "format": "modelexport-selection",
        "schema_version": "1.0",
        "model_path": str(chosen.model.path or ""),
        "selector": text,
        "count": len(chosen),
    }


def _lists(chosen: Selection) -> dict[str, list[str]]:
    return {
        what: [name if name.isascii() else readable(name) for name in getattr(chosen, what)]
        for what in ("modules", "values", "weights")
    }


def _keyed(chosen: Selection) -> Iterator[tuple[str, Node]]:
    selected = set(chosen.nodes)
    keyed = node_keys(chosen.model)
    if len(selected) == sum(len(graph.nodes) for graph in chosen.model.graphs()):
        return keyed
    return ((key, node) for key, node in keyed if node in selected)


def _origin(modules: ModuleTable, attribution: Attribution | None) -> dict[str, Any]:
    if attribution is None:
        return dict.fromkeys(("path", "tag", "source", "confidence"))
    return {
        "path": readable(attribution.path),
        "tag": readable(modules.tag(attribution.path)),
        "source": str(attribution.source),
        "confidence": round(attribution.confidence, 2),
    }


def own_names(chosen: Selection) -> list[str]:
    """The names of the nodes. Raises NamelessError where one has none, or shares it with another node of the file."""
    count = Counter(node.name for node in chosen.model.nodes())
    nameless = [node for node in chosen.nodes if not node.name or count[node.name] > 1]
    if nameless:
        first = nameless[0]
        raise NamelessError(
            f"{len(nameless)} of {len(chosen)} selected nodes have no name of their own "
            f"(first: {first.op_type} -> {first.first_output}): "
            "htp-opt MODEL -o NAMED --passes 'htp,node-naming' gives them one"
        )
    return [node.name for node in chosen.nodes]


def _layer_precisions(names: list[str], precision: str) -> str:
    if precision not in PRECISIONS:
        raise ConfigError(f"no precision {precision!r}; known are {', '.join(PRECISIONS)}")
    unusable = [name for name in names if ":" in name or "," in name]
    if unusable:
        raise NamelessError(
            f"{len(unusable)} of {len(names)} selected nodes have a ':' or ',' in their name, which trtexec reads as "
            f"its own (first: {unusable[0]}): htp-opt MODEL -o NAMED --passes 'htp,node-naming{{keep-scoped=false}}' "
            "gives them another"
        )
    return "--layerPrecisions=" + ",".join(f"{name}:{precision}" for name in names) if names else ""
