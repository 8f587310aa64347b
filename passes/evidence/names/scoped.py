"""Which scope of TorchScript's the name of each node says, and in which scopes which operators and weights are."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.passes.evidence.names.prefixes import Prefixes
from modelexport.passes.evidence.names.scopes import ScopeWalk
from modelexport.passes.evidence.records.node_names import (
    is_whole,
    operator_of_name,
    plain_scope,
    scope_of_name,
    scope_of_value,
)

BY_NAME, BY_VALUE, FUSED = "node-name", "output-name", "fused-name"


class ScopedNodes:
    """The scopes of nodes, which ``walk`` is told all about.

    Attributes:
        scoped: scope and rule of every node whose names say one.
        damaged: how many names had a scope that is no exporter's.
    """

    def __init__(self, walk: ScopeWalk, prefixes: Prefixes, initializers: Collection[str]) -> None:
        self.scoped: dict[Node, tuple[str, str]] = {}
        self.damaged = 0
        self._walk, self._prefixes, self._initializers = walk, prefixes, frozenset(initializers)

    def look(self, model: Model) -> None:
        """Read the names of all nodes."""
        known, seen, see = self._initializers, self._walk.seen, self._walk.see
        plain: dict[str, tuple[str, str]] = {}  # by scope
        for graph in model.graphs() if not self._prefixes else ():
            for node in graph.nodes:
                operator = node.op_type
                scope = plain_scope(node.name, operator)
                if scope is None:
                    self._look(node)
                    continue
                said = plain.get(scope)
                if said is None:
                    if not see(scope, operator, self._read_by(node)):
                        self.damaged += 1
                        continue
                    said = plain[scope] = (scope, BY_NAME)
                elif operator not in seen[scope].operators or not known.isdisjoint(node.inputs):
                    see(said[0], operator, self._read_by(node))
                self.scoped[node] = said
        for graph in model.graphs() if self._prefixes else ():
            for node in graph.nodes:
                self._look(node)

    def _look(self, node: Node) -> None:
        rule, operator = BY_NAME, node.op_type
        name, output = node.name, node.first_output
        if self._prefixes:
            name, output = self._prefixes.scope_name(name), self._prefixes.scope_name(output)
        scope = plain_scope(name, operator)
        if scope is None:
            scope = scope_of_name(name, operator)
            # A name that an optimiser left as it was decides, whatever output the node has now. Where it made the name
            # out of another one, its last operator's output is the better record: of a table or reference too.
            made = scope_of_value(output)
            if scope is not None:
                self._walk.see(scope, operator_of_name(name, scope), self._read_by(node))
            if scope is not None and is_whole(name, scope):
                rule, operator = FUSED, operator_of_name(name, scope)
                if made is not None:
                    self._walk.see(*made)
            elif made is not None:
                (scope, operator), rule = made, BY_VALUE
            elif scope is not None:
                rule, operator = FUSED, operator_of_name(name, scope)
        if scope is not None:
            # A fused operator may have its parameters from another module than the one its output is named after.
            read = self._read_by(node) if operator == node.op_type else ()
            if self._walk.see(scope, operator, read):
                self.scoped[node] = scope, rule
            else:
                self.damaged += 1

    def _read_by(self, node: Node) -> Sequence[str]:
        known = self._initializers
        return () if known.isdisjoint(node.inputs) else [value for value in node.inputs if value in known]
