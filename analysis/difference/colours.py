"""Colours of nodes: numbers that are equal where nodes look alike, on either side.

A label is made of module, operator and attributes. Three kinds of colours refine it. ``above`` is made of everything
that a node depends on, ``below`` of everything that depends on it: one edit leaves every other node at least one of the
two. ``rounds`` are made of the neighbours up to some distance (the colour refinement of Weisfeiler and Leman, 1968),
for nodes between several edits.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial

from modelexport.analysis.difference.captures import Captures, label_of
from modelexport.analysis.difference.sources import Constant, Given, Made, Side, Source
from modelexport.ir.editing.topology import in_order
from modelexport.ir.node import Node
from modelexport.ir.scope import Scope

_ROUNDS = 6
Colouring = dict[Node, int]


class Scopes:
    """One scope of each side, with what their nodes read and who reads them.

    Attributes:
        left, right: the computing nodes in execution order.
        sources: of every input slot, then of every captured value.
        with_bodies: what nodes with captured values read, see :meth:`Captures.reads`.
        readers: of every output slot, who reads it here and at which slot.
        labels: by module, operator and attributes.
        places: by module and operator type.
    """

    def __init__(self, a: Side, b: Side, left: Scope, right: Scope) -> None:
        self.a, self.b = a, b
        self.graphs = (left, right)
        self.left = [node for node in in_order(left) if not a.is_fixed(node)]
        self.right = [node for node in in_order(right) if not b.is_fixed(node)]
        self.inside = {*self.left, *self.right}
        self.sources = {node: a.sources(node) for node in self.left}
        self.sources.update((node, b.sources(node)) for node in self.right)
        self._readers: dict[Node, list[list[tuple[Node, int]]]] = {}
        self.numbers: dict[Hashable, int] = {}
        captures = Captures(self.number)
        self.with_bodies: dict[Node, list[tuple[int, Source]]] = {
            node: captures.reads(side, node)
            for side, nodes in ((a, self.left), (b, self.right))
            for node in nodes
            if node.captures
        }
        self.labels: Colouring = {}
        self.places: Colouring = {}
        for side, nodes in ((a, self.left), (b, self.right)):
            for node in nodes:
                path = side.path(node)
                self.places[node] = self.number(("place", path, node.op_type))
                self.labels[node] = self.number(label_of(side, node))

    def number(self, key: Hashable) -> int:
        """One number for equal keys."""
        return self.numbers.setdefault(key, len(self.numbers))

    def reads(self, node: Node) -> Iterable[tuple[int, Source]]:
        """What a node reads and at which slot; captured values, in the order of their marks, below zero."""
        return self.with_bodies[node] if node in self.with_bodies else enumerate(self.sources[node])

    def side(self, node: Node) -> Side:
        """The side that a node of these scopes is of."""
        return self.a if node.graph is self.graphs[0] else self.b

    @property
    def readers(self) -> dict[Node, list[list[tuple[Node, int]]]]:
        """Readers, found when they are asked for first: like models need none."""
        if not self._readers:
            self._readers = self._find_readers()
        return self._readers

    def _find_readers(self) -> dict[Node, list[list[tuple[Node, int]]]]:
        readers: dict[Node, list[list[tuple[Node, int]]]] = {
            node: [[] for _ in node.outputs] for node in (*self.left, *self.right)
        }
        for node in (*self.left, *self.right):
            for slot, source in self.reads(node):
                if isinstance(source, Made) and source.node in readers:
                    readers[source.node][source.slot].append((node, slot))
        return readers


class Colours:
    """The colours of all nodes of two scopes.

    Args:
        outer: a number that a node around a body shares with its counterpart.
    """

    def __init__(self, scopes: Scopes, outer: Callable[[Node], int]) -> None:
        self._scopes = scopes
        self._outer = outer
        self._given_out = [self._outputs(graph) for graph in scopes.graphs]
        self.base: Colouring = {node: scopes.number(self._base(node)) for node in (*scopes.left, *scopes.right)}
        self.above = self._above()
        self._below: Colouring = {}
        self._rounds: list[Colouring] = []

    @property
    def below(self) -> Colouring:
        """Colours by what depends on a node; made when they are asked for, as those of the rounds are."""
        if not self._below:
            self._below = self._find_below()
        return self._below

    @property
    def rounds(self) -> list[Colouring]:
        """Colours by round; made when they are asked for, since most pairs of models need none."""
        if not self._rounds:
            self._rounds = self._refined()
        return self._rounds

    def surest_first(self) -> Iterator[Callable[[Node], Hashable]]:
        """Colourings, the ones whose equality says most first.

        What a node is made of says more than what is made of it: swapped inputs are a change of the reader.
        """
        above = self.above
        yield above.__getitem__
        below = self.below
        yield lambda node: (above[node], below[node])
        yield below.__getitem__
        for colours in reversed(self.rounds):
            yield partial(_both, above, colours)
            yield partial(_both, below, colours)
            yield colours.__getitem__

    def _base(self, node: Node) -> Hashable:
        scopes = self._scopes
        side = scopes.side(node)
        fixed: list[Hashable] = []
        for slot, source in scopes.reads(node):
            if isinstance(source, Constant):
                fixed.append((slot, "constant", side.outline(source)))
            elif isinstance(source, Given):
                fixed.append((slot, "input", source.key, source.graph.kind))
            elif isinstance(source, Made) and source.node not in scopes.inside:
                fixed.append((slot, "outer", self._outer(source.node), source.slot))
        if node in scopes.with_bodies:
            fixed.sort(key=repr)
        outputs = self._given_out[0 if node.graph is scopes.graphs[0] else 1]
        given_out = [(slot, outputs[value]) for slot, value in enumerate(node.outputs) if value in outputs]
        return scopes.labels[node], tuple(fixed), tuple(given_out)

    @staticmethod
    def _outputs(graph: Scope) -> dict[str, str | int]:
        """What a graph gives out is known by name in the main graph, by position elsewhere."""
        return {value: value if graph.kind == "main" else index for index, value in enumerate(graph.outputs)}

    def _above(self) -> Colouring:
        scopes = self._scopes
        found: Colouring = {}
        for node in (*scopes.left, *scopes.right):
            reads = [
                (slot, found.get(source.node, -1), source.slot)
                for slot, source in scopes.reads(node)
                if isinstance(source, Made) and source.node in scopes.inside
            ]
            if node in scopes.with_bodies:
                reads.sort()  # captured values of one mark have no order
            found[node] = scopes.number(("above", self.base[node], tuple(reads)))
        return found

    def _find_below(self) -> Colouring:
        scopes = self._scopes
        found: Colouring = {}
        for node in (*reversed(scopes.left), *reversed(scopes.right)):
            read = [sorted((found.get(reader, -1), slot) for reader, slot in rows) for rows in scopes.readers[node]]
            found[node] = scopes.number(("below", self.base[node], tuple(map(tuple, read))))
        return found

    def _refined(self) -> list[Colouring]:
        """Colours by round, the labels with their constants first; it stops when a round tells no more nodes apart."""
        rounds = [self.base]
        distinct = len(set(self.base.values()))
        for _ in range(_ROUNDS):
            before = rounds[-1]
            rounds.append({node: self._scopes.number(self._round(node, before)) for node in before})
            more = len(set(rounds[-1].values()))
            if more == distinct:
                break
            distinct = more
        return rounds

    def _round(self, node: Node, before: Colouring) -> Hashable:
        reads = [
            (slot, before[source.node], source.slot)
            for slot, source in self._scopes.reads(node)
            if isinstance(source, Made) and source.node in before
        ]
        if node in self._scopes.with_bodies:
            reads.sort()
        read = [sorted((before[reader], slot) for reader, slot in rows) for rows in self._scopes.readers[node]]
        return "round", before[node], tuple(reads), tuple(map(tuple, read))


def _both(one: Colouring, other: Colouring, node: Node) -> Hashable:
    return one[node], other[node]
