"""What a diff says about the nodes of a picture: added, changed, and what is gone from a module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelexport.ir.text import readable
from modelexport.views.data import ViewData, ViewNode

ADDED, REMOVED, CHANGED = "added", "removed", "changed"


@dataclass(slots=True)
class Marks:
    """Attributes:
    nodes: ``added``, ``removed`` or ``changed`` by position of the node. A picture of the older model has removed
        nodes, one of the newer has added ones.
    gone: by position of the module, a line for each node that only the other model has.
    other: what these are: removed ones in a picture of the newer model, added ones in one of the older.
    """

    nodes: dict[int, str] = field(default_factory=dict)
    gone: dict[int, list[str]] = field(default_factory=dict)
    other: str = REMOVED


def place_marks(document: Mapping[str, Any], data: ViewData) -> tuple[Marks, dict[int, float], list[str]]:
    """Marks of a diff's document, a 1 for each marked node, and the nodes that were not found.

    The picture may be of either model: it is taken for the one of whose nodes more are found, the newer of two equal.
    """
    keys = {node.key: node for node in data.nodes}
    readers = _Readers(data)
    sides = {side: list(_named(document, side, readers)) for side in ("b", "a")}

    def fits(key: str, op_type: str) -> bool:
        return key in keys and op_type in ("", readable(keys[key].node.op_type))

    side = max(sides, key=lambda each: sum(fits(key, op_type) for key, op_type, _ in sides[each]))
    other = REMOVED if side == "b" else ADDED
    marks = Marks(other=other)
    missing: list[str] = []
    for key, _, what in sides[side]:
        if key in keys:
            marks.nodes[keys[key].index] = what
        else:
            missing.append(key)
    modules = {module.path: module.index for module in data.modules}
    for module in document["modules"]:
        path = module["path"]
        while path not in modules:
            path = path.rpartition(".")[0]
        for node in module["nodes"][other]:
            marks.gone.setdefault(modules[path], []).append(f"{node['op_type']} {node['name'] or node['key']}")
    return marks, dict.fromkeys(marks.nodes, 1), missing


class _Readers:
    """Nodes by what they read: a diff names a weight by both its names, and its reader as the older model calls it."""

    def __init__(self, data: ViewData) -> None:
        self._data = data
        self._found: dict[tuple[object, object], list[ViewNode]] = {}

    def key(self, weight: Mapping[str, Any], side: str, path: str) -> str:
        """The key of the node that reads the weight in this picture; as the diff has it where none does."""
        if not self._found:
            for node in self._data.nodes:
                for slot, value in enumerate(node.inputs):
                    if value >= 0:
                        self._found.setdefault((self._data.values[value].name, slot), []).append(node)
        reader = weight["node"]
        here = self._found.get((weight.get(side), weight.get("slot")), ())
        found = [node for node in here if readable(node.node.op_type) == reader.get("op_type", "")]
        same = [node for node in found if node.key == reader["key"]]
        near = [node for node in found if self._data.modules[node.module].path == path]
        return str(next((node.key for node in (*same, *near, *found)), reader["key"]))


def _named(document: Mapping[str, Any], side: str, readers: _Readers) -> Iterator[tuple[str, str, str]]:
    """Key and operator of the nodes that one of the two models has, and what is said of them."""
    for module in document["modules"]:
        for weight in module["weights"]:
            yield readers.key(weight, side, module["path"]), weight["node"].get("op_type", ""), CHANGED
        for change in module["nodes"][CHANGED]:
            yield change[side]["key"], change[side].get("op_type", ""), CHANGED
        for node in module["nodes"][ADDED if side == "b" else REMOVED]:
            yield node["key"], node.get("op_type", ""), ADDED if side == "b" else REMOVED
