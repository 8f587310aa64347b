"""What the tables of a file say of the nodes that it has now, wherever tools have moved these."""

from __future__ import annotations

from dataclasses import dataclass, field

from modelexport.ir.graph import Graph
from modelexport.ir.io.embedded_tags import Record
from modelexport.ir.model import Model
from modelexport.ir.modules import Module
from modelexport.ir.node import Node
from modelexport.ir.scope import Scope

_HALF, _BEST = 0.5, 0.98  # of a body's nodes, and of the nodes of what has most of them


@dataclass(slots=True)
class Tables:
    """What a file's tables say: modules, and records by scope and name, then by scope and first output.

    A body is found by the name of the node that owns it, or by what that node makes: its position may have changed.
    A whole graph that a tool moved into a body (a decoder with its cache and without, under one If) is found by its
    names: see :meth:`place`.
    """

    modules: list[Module] = field(default_factory=list)
    by_name: dict[tuple[str, str], Record] = field(default_factory=dict)
    by_output: dict[tuple[str, str], tuple[Record, str]] = field(default_factory=dict)
    _owners: dict[tuple[str, str], list[tuple[str, str]]] = field(default_factory=dict)  # names, outputs in file order
    _bodies: dict[tuple[str, str, str], str] = field(default_factory=dict)  # keys by scope around, owner, attribute
    _noted: set[str] = field(default_factory=set)
    _scopes: dict[int, tuple[str, ...]] = field(default_factory=dict)
    _new: set[int] = field(default_factory=set)  # ids of nodes that a tool put around whole graphs
    _whole: dict[str, dict[str, None]] = field(default_factory=dict)  # keys of the graphs that are no bodies, by scope

    def add(self, scope: str, name: str, output: str, record: Record, prefix: str = "", part: str = "") -> None:
        """Add a row, in the order of the file. ``prefix`` stands before names here; ``part`` tells bodies apart."""
        key = self._key(scope, part)
        name, output = name and prefix + name, output and prefix + output
        self._owners.setdefault((part, scope), []).append((name, output))
        if name:
            self.by_name.setdefault((key, name), record)
        if output:
            self.by_output.setdefault((key, output), (record, name))

    def _key(self, scope: str, part: str) -> str:
        """What stands for a scope of one part here; a body is also noted under its owner's names."""
        around, slash, body = scope.rpartition("/")
        key = f"{part}:{scope}" if part else scope
        if not slash:
            if key not in self._whole.get(scope, ()):
                self._whole.setdefault(scope, {})[key] = None
        elif key not in self._noted:
            self._noted.add(key)
            above = self._key(around, part)
            position, _, attribute = body.partition(".")
            held = self._owners.get((part, around), [])
            if position.isdigit() and int(position) < len(held):
                for kind, owner in zip("no", held[int(position)], strict=True):
                    if owner:
                        self._bodies.setdefault((above, kind + owner, attribute), key)
        return key

    def place(self, model: Model) -> None:
        """Find the bodies of ``model`` that are whole graphs of the tables, by their nodes' names and outputs.

        Of bodies that are much alike, as those of one decoder are, each is the graph that has most of its nodes, and
        none is the graph that another body has more of.
        """
        moved = [graph for graph in model.graphs() if graph.owner is not None and not self._is_known(graph)]
        if not moved:
            return
        graphs = [graph for graph in model.graphs() if graph.owner is None]
        placed: dict[int, tuple[str, ...]] = {}
        held = {
            key: {graph: self._held(key, graph) for graph in (*moved, *graphs)}
            for keys in self._whole.values()
            for key in keys
        }
        enough = {key: _BEST * max(counts.values()) for key, counts in held.items()}
        for graph in moved:
            fitting = [key for key, counts in held.items() if counts[graph] >= enough[key]]
            key = max(fitting, key=lambda key: held[key][graph], default="")
            if key and held[key][graph] > _HALF * len(graph):
                placed[id(graph)] = (key,)
                self._note_around(graph)
        self._scopes = placed

    def _note_around(self, graph: Scope) -> None:
        while graph.owner is not None:
            self._new.add(id(graph.owner))
            graph = graph.owner.graph

    def _is_known(self, graph: Graph) -> bool:
        return not self._noted.isdisjoint(self._keys(graph))

    def _held(self, key: str, graph: Graph) -> int:
        """How many nodes of ``graph`` have a row of the scope ``key``, by output and, where both have one, name."""
        count = 0
        for node in graph.nodes:
            found = self.by_output.get((key, node.first_output))
            count += found is not None and (not node.name or found[1] in ("", node.name))
        return count

    def _keys(self, graph: Scope) -> tuple[str, ...]:
        """The keys of ``graph`` in the tables: of each table's main graph, where it is the file's."""
        found = self._scopes.get(id(graph))
        if found is None:
            owner = graph.owner
            if owner is None:
                found = tuple(self._whole.get(graph.scope, ())) or (graph.scope,)
            else:
                said = (("n" + owner.name) if owner.name else "", "o" + owner.first_output)
                around = self._keys(owner.graph)
                bodies = (self._bodies.get((key, each, graph.label)) for each in said if each for key in around)
                found = (next((body for body in bodies if body is not None), graph.scope),)
            self._scopes[id(graph)] = found
        return found

    def named(self, graph: Scope, name: str) -> Record | None:
        """The record of the node that was called ``name`` in ``graph``."""
        for key in self._keys(graph):
            held = self.by_name.get((key, name))
            if held is not None:
                return held
        return None

    def making(self, graph: Scope, output: str) -> tuple[Record, str] | None:
        """The record and the name of the node that made ``output`` in ``graph``."""
        for key in self._keys(graph):
            held = self.by_output.get((key, output))
            if held is not None:
                return held
        return None

    def find(self, node: Node) -> tuple[Record, bool] | None:
        """The record of ``node`` and whether it was written for this very node, not only for its output value."""
        if id(node) in self._new:  # its outputs may be called as those of what is in it
            return None
        label = label_of(node)
        if label:
            record = self.named(node.graph, label)
            if record is not None:
                return record, True
        output = node.first_output
        if output:
            found = self.making(node.graph, output)
            if found is not None:
                record, name = found
                return record, not name or not node.name
        return None


def label_of(node: Node) -> str:
    """How the table names a node: by its name, else ``""``, or ``#position`` where it has no output either."""
    return node.name or ("" if node.first_output else f"#{node.graph.position(node)}")
