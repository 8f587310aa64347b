"""The names that nodes and values had before node-naming, as the file keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field

from modelexport.ir.io import embedded_tags
from modelexport.ir.io.embedded_tags import OLD_NAME, OLD_NAMES, BadTable
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.scope import Scope


@dataclass(slots=True)
class OldNames:
    """Old names of the nodes and values that still have their new ones.

    Attributes:
        nodes: by node; None where the name was absent, which is not the same bytes as an empty one.
        values: by scope, then by new name.
    """

    nodes: dict[Node, str | None] = field(default_factory=dict)
    values: dict[Scope, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def read(cls, model: Model, warnings: list[str]) -> OldNames:
        """What the file says; a damaged table is ignored with a warning."""
        found = cls()
        keys = embedded_tags.old_names_keys(model.metadata)
        if not keys:  # a tool that dropped the table may have left the nodes' own records
            for node in model.nodes():
                name = node.metadata.get(OLD_NAME)
                if name is not None:
                    found.nodes[node] = name or None
            return found
        budget = embedded_tags.table_budget(model)
        for key in keys:
            packed = model.metadata[key]
            try:
                names = [_row(row) for row in embedded_tags.unpack(packed, budget, "names")]
                values = [_row(row) for row in embedded_tags.unpack(packed, budget, "values")]
            except BadTable as error:
                warnings.append(f"ignored the table of old names: {error}")
                continue
            found._take(model, names, values, _prefix(model, names))
        return found

    def _take(self, model: Model, names: list[_Row], values: list[_Row], prefix: str) -> None:
        by_scope = {(scope, new): old for scope, new, old in names}
        by_name = {new: old for _, new, old in names}  # tools move nodes, and scopes are named by position
        for node in model.nodes():
            before = prefix if node.graph.home.kind != "function" else ""
            name = node.name.removeprefix(before)
            if name in by_name and node.name.startswith(before):
                old = by_scope.get((node.graph.scope, name), by_name[name])
                self.nodes[node] = _spelled(old and before + old)
        graphs = {graph.scope: graph for graph in model.graphs()}
        for scope, new, old in values:
            new = prefix + new
            graph = graphs.get(scope)
            if graph is None or graph.producer(new) is None:
                graph = next((each for each in graphs.values() if each.producer(new) is not None), None)
            if graph is not None and old:
                self.values.setdefault(graph, {})[new] = prefix + old

    def node_renamed(self, node: Node, name: str) -> None:
        """Remember the present name of a node that is about to be called ``name``; the first one counts."""
        if node not in self.nodes:
            given = node.proto.HasField("name") if node.proto is not None else bool(node.name)
            self.nodes[node] = node.name if given else None
        first = self.nodes[node]
        if first == name:
            del self.nodes[node]
        node.patch_metadata({OLD_NAME: None if first == name else first or ""})

    def value_renamed(self, graph: Scope, value: str, name: str) -> None:
        """Remember the first name of a value that is about to be called ``name``."""
        known = self.values.setdefault(graph, {})
        first = known.pop(value, value)
        if first != name:
            known[name] = first

    def write(self, model: Model) -> None:
        """Put the table into the model's metadata."""
        names: list[list[object]] = [
            [node.graph.scope, node.name, _spelled(self.nodes[node])] for node in model.nodes() if node in self.nodes
        ]
        values: list[list[object]] = [
            [graph.scope, new, old] for graph in model.graphs() for new, old in self.values.get(graph, {}).items()
        ]
        packed = embedded_tags.pack_all({"names": names, "values": values})
        wanted: dict[str, str | None] = dict.fromkeys(embedded_tags.old_names_keys(model.metadata))
        wanted[f"{OLD_NAMES}.{embedded_tags.digest_of(packed)}"] = packed
        model.patch_metadata(wanted)


_KEYS = frozenset((OLD_NAME,))
_Row = tuple[str, str, str | None]


def _prefix(model: Model, names: list[_Row]) -> str:
    """What a composing tool put before the names of one table (not in functions): what stands before most of them."""
    by_old: dict[str, list[str]] = {}
    for _, new, old in names:
        by_old.setdefault(old or "", []).append(new)
    rows: dict[str, set[str]] = {"": set()}
    for node in model.nodes():
        if not node.has_metadata(_KEYS) or node.graph.home.kind == "function":
            continue
        ends = [new for new in by_old.get(node.metadata[OLD_NAME], ()) if node.name.endswith(new)]
        if ends:
            new = max(ends, key=len)
            rows.setdefault(node.name[: -len(new)], set()).add(new)
    return max(rows, key=lambda prefix: len(rows[prefix]))


def _spelled(name: str | None) -> str | None:
    """An absent name as the table has it, and back: ``""``; null is the rare name that is there and empty."""
    return name or (None if name == "" else "")


def _row(row: object) -> _Row:
    if isinstance(row, list) and len(row) == 3:
        scope, new, old = row
        if isinstance(scope, str) and isinstance(new, str) and (old is None or isinstance(old, str)):
            return scope, new, old
    raise BadTable("a row of the table of old names is not a scope and two names")
