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
        packed = model.metadata.get(OLD_NAMES)
        found = cls()
        if packed is None:  # a tool that dropped the table may have left the nodes' own records
            for node in model.nodes():
                name = node.metadata.get(OLD_NAME)
                if name is not None:
                    found.nodes[node] = name or None
            return found
        try:
            budget = embedded_tags.table_budget(model)
            names = [_row(row) for row in embedded_tags.unpack(packed, budget, "names")]
            values = [_row(row) for row in embedded_tags.unpack(packed, budget, "values")]
        except BadTable as error:
            warnings.append(f"ignored the table of old names: {error}")
            return found
        found._take(model, names, values)
        return found

    def _take(self, model: Model, names: list[_Row], values: list[_Row]) -> None:
        by_scope = {(scope, new): old for scope, new, old in names}
        by_name = {new: old for _, new, old in names}  # tools move nodes, and scopes are named by position
        for node in model.nodes():
            if node.name in by_name:
                old = by_scope.get((node.graph.scope, node.name), by_name[node.name])
                self.nodes[node] = _spelled(old)
        graphs = {graph.scope: graph for graph in model.graphs()}
        for scope, new, old in values:
            graph = graphs.get(scope)
            if graph is None or graph.producer(new) is None:
                graph = next((each for each in graphs.values() if each.producer(new) is not None), None)
            if graph is not None and old:
                self.values.setdefault(graph, {})[new] = old

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
        model.patch_metadata({OLD_NAMES: embedded_tags.pack_all({"names": names, "values": values})})


_Row = tuple[str, str, str | None]


def _spelled(name: str | None) -> str | None:
    """An absent name as the table has it, and back: ``""``; null is the rare name that is there and empty."""
    return name or (None if name == "" else "")


def _row(row: object) -> _Row:
    if isinstance(row, list) and len(row) == 3:
        scope, new, old = row
        if isinstance(scope, str) and isinstance(new, str) and (old is None or isinstance(old, str)):
            return scope, new, old
    raise BadTable("a row of the table of old names is not a scope and two names")
