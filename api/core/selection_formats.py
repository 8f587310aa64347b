"""Selections in the forms of other tools."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from modelexport.ir.errors import ConfigError, ModelExportError
from modelexport.ir.identity.keys import node_keys
from modelexport.ir.text import readable
from modelexport.passes.selection.selection import Selection

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
        return {"nodes_to_quantize" if include else "nodes_to_exclude": names}
    if form == "nncf":
        return {"ignored_scope": {"names": names, "validate": True}}
    if form == "modelopt":
        return {"nodes_to_exclude": [f"^{re.escape(name)}$" for name in names]}
    if form == "tensorrt":
        return _layer_precisions(names, precision)
    return names


def document(chosen: Selection, text: str) -> dict[str, Any]:
    """The document of ``select.schema.json``. Bytes of names that are not UTF-8 are backslash-escaped."""
    selected = set(chosen.nodes)
    rows = []
    tags = chosen.model.modules
    for key, node in node_keys(chosen.model):
        if node not in selected:
            continue
        attribution = node.attribution
        rows.append(
            {
                "key": key,
                "name": readable(node.name),
                "op_type": readable(node.op_type),
                "domain": readable(node.domain),
                "graph": readable(node.graph.scope),
                "path": attribution.path if attribution is not None else None,
                "tag": tags.tag(attribution.path) if attribution is not None else None,
                "source": str(attribution.source) if attribution is not None else None,
                "confidence": round(attribution.confidence, 2) if attribution is not None else None,
                "inputs": list(map(readable, node.inputs)),
                "outputs": list(map(readable, node.outputs)),
            }
        )
    return {
        "format": "modelexport-selection",
        "schema_version": "1.0",
        "model_path": str(chosen.model.path or ""),
        "selector": text,
        "count": len(rows),
        "nodes": rows,
        "modules": chosen.modules,
        "values": list(map(readable, chosen.values)),
        "weights": list(map(readable, chosen.weights)),
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
