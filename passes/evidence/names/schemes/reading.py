"""What naming schemes say of the nodes that nothing else decided.

A scheme is taken for the whole file, for a body, or for the names that begin alike, where it explains most of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.operators import Category, category
from modelexport.passes.evidence.names.parameters import unfused
from modelexport.passes.evidence.names.prefixes import Prefixes
from modelexport.passes.evidence.names.schemes.agreement import agrees
from modelexport.passes.evidence.names.schemes.catalogue import schemes
from modelexport.passes.evidence.names.schemes.interface import HELPER, OPERATION, ORDER, WEIGHT, Scheme, Scope
from modelexport.passes.evidence.names.schemes.judging import FEWEST, by_names, by_weights
from modelexport.passes.evidence.names.schemes.operations import operations
from modelexport.passes.evidence.names.schemes.tree import Atoms, ScopeTree, path_of
from modelexport.passes.evidence.names.slots import has_weights, weights_of


class Placed(NamedTuple):
    """Where a node is from, and the rule that says so."""

    path: str
    rule: str
    by_weight: bool


class Reading:
    """The places that names give, found when made.

    Args:
        model: whose nodes without attribution are looked at.
        fingerprint: equal for equal weights, "" for what is none or has one value everywhere.

    Attributes:
        placed: every node that a scheme places.
        owners: modules that own a weight.
    """

    def __init__(self, model: Model, fingerprint: Callable[[str], str]) -> None:
        self.placed: dict[Node, Placed] = {}
        self.owners: set[str] = set()
        self._fingerprint = fingerprint
        self._tensors = {name for graph in model.graphs() for name in graph.initializers}
        nodes, prefixes = [], Prefixes.of(model)
        for graph in model.graphs():
            for node in graph.nodes:
                if category(node.op_type) is Category.CONSTANT:
                    self._tensors.update(node.outputs)
                elif node.attribution is None and not prefixes.is_exported(node.name):
                    nodes.append(node)
        taken: set[Node] = set()
        for group in _groups(nodes) if self._may_say(nodes) else ():
            members = [node for node in group if node not in taken]
            found = self._choose(members) if members else None
            if found is not None:
                taken.update(members)
                self._place(members, *found)

    def _may_say(self, nodes: Sequence[Node]) -> bool:
        """Whether any scheme could explain these nodes: a few have names, or compute with weights."""
        named = sum(bool(node.name) for node in nodes)
        return named >= FEWEST or sum(bool(self._weights(node)) for node in nodes if has_weights(node.op_type)) > 1

    def _choose(self, nodes: Sequence[Node]) -> tuple[Scheme, dict[Node, Scope], dict[str, Atoms]] | None:
        """The scheme that explains most, by node names, else by value names, else by those of weights."""
        read = {node: weights for node in nodes if has_weights(node.op_type) and (weights := self._weights(node))}
        for names in ([(node, node.name) for node in nodes], [(node, node.first_output) for node in nodes]):
            named = [(node, name) for node, name in names if name]
            best: tuple[Scheme, dict[Node, Scope]] | None = None
            for scheme in schemes():
                scopes = by_names(scheme, named)
                if scopes is not None and (best is None or len(scopes) > len(best[1])):
                    best = scheme, scopes
            if best is not None:
                return *best, {}
        strict_first = sorted(schemes(), key=lambda scheme: scheme.operators)  # those that ask for the node's name
        for scheme in strict_first:
            owners = by_weights(scheme, read)
            if owners is not None:
                return scheme, {}, owners
        return None

    def _weights(self, node: Node) -> list[str]:
        return [value for value in weights_of(node) if value in self._tensors]

    def _place(
        self, nodes: Sequence[Node], scheme: Scheme, scopes: dict[Node, Scope], weights: dict[str, Atoms]
    ) -> None:
        if scopes or not scheme.closed:
            for node in nodes:
                if node not in scopes:
                    scope = self._own_or_before(scheme, node)
                    if scope is not None:
                        scopes[node] = scope
        tree = ScopeTree(scheme, scopes.values())
        owner: dict[str, Atoms] = {}
        for node in nodes:
            for value in self._weights(node):
                if value not in owner and (atoms := weights.get(value) or scheme.weight(unfused(value))):
                    owner[value] = tree.of_weight(atoms)
        if scheme.closed:
            known = set(owner.values())
            for node in nodes:
                scope = scheme.scope(node.first_output, node.op_type)
                if node not in scopes and scope is not None and scope.atoms in known:
                    scopes[node] = scope
        self._merge_calls(tree, scopes)
        for node in nodes:
            found = self._of(node, scheme, scopes.get(node), tree, owner)
            if found is not None:
                self.placed[node] = found
                if any(self._fingerprint(value) for value in self._weights(node)):
                    self.owners.add(found.path)
        self._join(nodes, scheme, tree)

    def _join(self, nodes: Sequence[Node], scheme: Scheme, tree: ScopeTree) -> None:
        """One operation is one module's. Where it computes with weights of several, it stands for what they are in."""
        for group in operations(scheme, nodes):
            read = (value for node in group for value in node.inputs if value in self._tensors)
            owners = [tree.of_weight(atoms) for value in read if (atoms := scheme.weight(unfused(value)))]
            if len(set(owners)) > 1:
                path = path_of(owners[-1])
                for node in group:
                    self.placed[node] = Placed(path, f"scheme-{scheme.name}-{OPERATION}", True)

    def _own_or_before(self, scheme: Scheme, node: Node) -> Scope | None:
        own = scheme.scope(node.name, node.op_type)
        if own is None and scheme.values:
            own = scheme.scope(node.first_output, node.op_type)
        if own is not None:
            return own
        makers = [maker for value in node.inputs if (maker := node.graph.producer(value)) is not None]
        return scheme.after(makers[0].name, node.op_type) if len(makers) == 1 else None

    def _merge_calls(self, tree: ScopeTree, scopes: dict[Node, Scope]) -> None:
        readers: dict[str, set[Atoms]] = defaultdict(set)
        for node, scope in scopes.items():
            for value in self._weights(node):
                if self._fingerprint(value):
                    readers[value].add(tree.module(scope.atoms))
        tree.merge_calls(readers.values())

    def _of(
        self, node: Node, scheme: Scheme, scope: Scope | None, tree: ScopeTree, owner: dict[str, Atoms]
    ) -> Placed | None:
        rule = f"scheme-{scheme.name}"
        owners = [tree.module(owner[value]) for value in self._weights(node) if value in owner]
        if scope is None or (owners and has_weights(node.op_type) and not _fits(scheme, scope, node)):
            chief = next((atoms for atoms in owners if atoms), None)
            if chief is not None:
                return Placed(path_of(chief), f"{rule}-{WEIGHT}", True)
        if scope is None:
            scope = scheme.order(node.first_output)
            known = scope is None or scope.atoms in owner.values()
            return None if scope is None or known else Placed(path_of(scope.atoms), f"{rule}-{ORDER}", False)
        return Placed(path_of(tree.module(scope.atoms)), f"{rule}-{HELPER}" if scope.helper else rule, False)


def _fits(scheme: Scheme, scope: Scope, node: Node) -> bool:
    return not scheme.operators or agrees(scope.operator.rstrip("0123456789"), node.op_type)


def _groups(nodes: Sequence[Node]) -> Iterator[Sequence[Node]]:
    """All nodes; then those of each scope of the file; then those whose names begin alike."""
    if not nodes:
        return
    yield nodes
    by_graph: dict[int, list[Node]] = defaultdict(list)
    by_start: dict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        by_graph[id(node.graph)].append(node)
        start, slash, _ = (node.name or node.first_output).partition("/")
        if slash:
            by_start[start].append(node)
    if len(by_graph) > 1:
        yield from by_graph.values()
    if len(by_start) > 1:
        yield from by_start.values()
