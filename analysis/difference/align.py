"""Which node of one model is which node of the other, told by what they are and not by their names.

Nodes whose colour (see ``colours``) exists once on both sides are matched, the surest colours first, and every match is
passed on to neighbours that it leaves no choice. What is left around an edit is matched by its place: the same
operator between matched neighbours. Equal names decide only between nodes that nothing else tells apart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field

from modelexport.analysis.difference.colours import Colours, Scopes
from modelexport.analysis.difference.sources import Constant, Made, Side, Source
from modelexport.ir.node import Node
from modelexport.ir.scope import Scope

_MANY = 256  # readers of one value from which on it says nothing of a reader's place, and would cost their square
Colour = Callable[[Node], Hashable]


@dataclass(slots=True)
class Alignment:
    """Pairs of nodes, at every depth, looked up from either side.

    Attributes:
        labels: equal for two matched nodes of one module, operator and attributes (bodies apart).
        scopes: the main graphs, functions of one name, and bodies of matched nodes, each with its counterpart.
    """

    forward: dict[Node, Node] = field(default_factory=dict)
    backward: dict[Node, Node] = field(default_factory=dict)
    labels: dict[Node, int] = field(default_factory=dict)
    scopes: list[tuple[Scope, Scope]] = field(default_factory=list)

    def add(self, a: Node, b: Node) -> None:
        """Match two nodes."""
        self.forward[a] = b
        self.backward[b] = a

    def number_of(self, node: Node) -> int:
        """A number that a node shares with its match; 0 for one without."""
        origin = self.backward.get(node, node)
        return id(origin) if origin in self.forward else 0

    def same_source(self, a: Source, b: Source) -> bool | None:
        """Whether two sources are one; None where one has no counterpart at all, or both are constants."""
        if isinstance(a, Constant) and isinstance(b, Constant):
            return None
        if isinstance(a, Made) and isinstance(b, Made):
            image, origin = self.forward.get(a.node), self.backward.get(b.node)
            if image is None or origin is None:
                return None
            return image is b.node and a.slot == b.slot
        if isinstance(a, Made):
            return False if a.node in self.forward else None
        if isinstance(b, Made):
            return False if b.node in self.backward else None
        return a == b


def align(a: Side, b: Side) -> Alignment:
    """Align the main graphs, then the bodies of matched nodes and the local functions of one name."""
    found = Alignment()
    waiting: deque[tuple[Scope, Scope]] = deque([(a.model.main, b.model.main)])
    functions = {graph.scope: graph for graph in b.model.functions}
    waiting.extend((one, functions[one.scope]) for one in a.model.functions if one.scope in functions)
    while waiting:
        left, right = waiting.popleft()
        found.scopes.append((left, right))
        scopes = Scopes(a, b, left, right)
        _Matching(scopes, found).match()
        for node in scopes.left:
            other = found.forward.get(node)
            if other is not None and (node.bodies or other.bodies):
                labels = {body.label: body for body in other.bodies}
                waiting.extend((body, labels[body.label]) for body in node.bodies if body.label in labels)
    return found


class _Matching:
    """Two scopes being aligned."""

    def __init__(self, scopes: Scopes, found: Alignment) -> None:
        self.scopes, self.found = scopes, found
        self.left, self.right = scopes.left, scopes.right
        self.sources = scopes.sources
        self.labels, self.places = scopes.labels, scopes.places
        self.rest = dict.fromkeys(self.left), dict.fromkeys(self.right)  # those without a match
        self.changed: deque[tuple[Node, Node]] = deque()  # matches to be passed on to readers
        self.backward: deque[tuple[Node, Node]] = deque()  # matches to be passed on to sources
        self.again: dict[Made, Made] = {}  # matched values of which another reader was matched
        self.doubtful: list[tuple[Node, Node]] = []  # of one label, and their own sources say otherwise

    def match(self) -> None:
        """Fill the alignment with the nodes of these scopes."""
        self.found.labels.update(self.labels)
        colours = Colours(self.scopes, self.found.number_of)
        for colour in self._while_open(colours):
            self._unique(colour)
        if not self.rest[0] or not self.rest[1]:
            return
        self._anchor(self.labels)
        self._settle(self.labels)
        for colour in self._while_open(colours):
            self._ties(colour)
        self._accept_doubtful()
        self._settle(self.labels)
        if not self.rest[0] or not self.rest[1]:
            return
        self._anchor(self.places)
        self._settle(self.places)
        self._by_place()

    def _while_open(self, colours: Colours) -> Iterator[Colour]:
        """Colours, the surest first, for as long as both sides have nodes without a match."""
        for colour in colours.surest_first():
            yield colour
            if not self.rest[0] or not self.rest[1]:
                return

    def _pair(self, one: Node, other: Node) -> None:
        self.found.add(one, other)
        del self.rest[0][one], self.rest[1][other]
        self.changed.append((one, other))

    def _unique(self, colour: Colour) -> None:
        for mine, theirs in self._groups(colour):
            if len(mine) == len(theirs) == 1:
                self._pair(mine[0], theirs[0])
        self._settle(self.labels)

    def _ties(self, colour: Colour) -> None:
        """Match what has one colour and nothing to tell it apart: equal weights first, then names, then the order."""
        keys: tuple[Callable[[Node], Hashable], ...] = (
            self._contents,
            lambda node: (self._contents(node), node.name or node.first_output),
            lambda node: node.name or node.first_output,
        )
        for mine, theirs in self._groups(colour):
            for key in keys:
                for one, other in _alike(self._open(mine), self._open(theirs), key):
                    if one not in self.found.forward and other not in self.found.backward:
                        self._pair(one, other)
                        self._settle(self.labels)
            for one, other in zip(self._open(mine), self._open(theirs), strict=False):
                if one not in self.found.forward and other not in self.found.backward:
                    self._pair(one, other)
                    self._settle(self.labels)

    def _groups(self, colour: Colour) -> Iterator[tuple[list[Node], list[Node]]]:
        mine: dict[Hashable, list[Node]] = {}
        theirs: dict[Hashable, list[Node]] = {}
        for nodes, groups in zip(self.rest, (mine, theirs), strict=True):
            for node in nodes:
                groups.setdefault(colour(node), []).append(node)
        for key, group in mine.items():
            if key in theirs:
                yield group, theirs[key]

    def _open(self, nodes: Iterable[Node]) -> list[Node]:
        found = self.found
        return [node for node in nodes if node not in found.forward and node not in found.backward]

    def _contents(self, node: Node) -> Hashable:
        side = self.scopes.side(node)
        sources = self.sources[node][: len(node.inputs)]
        return tuple(side.digest(source) for source in sources if isinstance(source, Constant))

    def _settle(self, labels: dict[Node, int]) -> None:
        """Pass matches on to neighbours of one label that have no other candidate: to readers first.

        What a node reads makes it the same node more than who reads it, so that swapped inputs are a change of the
        reader and not of what it reads.
        """
        if not self.rest[0] or not self.rest[1]:
            for queue in (self.changed, self.backward, self.again):
                queue.clear()
        while self.changed or self.backward or self.again:
            if self.changed:
                one, other = self.changed.popleft()
                self.backward.append((one, other))
                for mine, theirs in zip(self.scopes.readers[one], self.scopes.readers[other], strict=False):
                    self._match_readers(mine, theirs, labels)
                continue
            if not self.backward:
                self._settle_others(labels)
                continue
            one, other = self.backward.popleft()
            for left, right in self._sources_of(one, other):
                if isinstance(left, Made) and isinstance(right, Made) and left.slot == right.slot:
                    if self.found.forward.get(left.node) is right.node:
                        self.again[left] = right
                    else:
                        self._match_if_alike(left.node, right.node, labels)

    def _settle_others(self, labels: dict[Node, int]) -> None:
        """Look again at who else reads what matched nodes read: one of them may be without another candidate now."""
        waiting = list(self.again.items())
        self.again.clear()
        for left, right in waiting:
            mine, theirs = self.scopes.readers.get(left.node), self.scopes.readers.get(right.node)
            if mine and theirs and len(mine[left.slot]) <= _MANY:
                self._match_readers(mine[left.slot], theirs[right.slot], labels)

    def _match_readers(
        self, mine: list[tuple[Node, int]], theirs: list[tuple[Node, int]], labels: dict[Node, int]
    ) -> None:
        candidates: dict[tuple[int, int], list[Node]] = {}
        for node, slot in mine:
            if node not in self.found.forward:
                candidates.setdefault((labels[node], slot), []).append(node)
        if not candidates:
            return
        others: dict[tuple[int, int], list[Node]] = {}
        for node, slot in theirs:
            if node not in self.found.backward:
                others.setdefault((labels[node], slot), []).append(node)
        for key, nodes in candidates.items():
            if len(nodes) == 1 and len(others.get(key, ())) == 1:
                one, other = nodes[0], others[key][0]  # they may read the value at another slot too
                if one not in self.found.forward and other not in self.found.backward:
                    self._pair(one, other)

    def _match_if_alike(self, one: Node, other: Node, labels: dict[Node, int]) -> None:
        if one not in self.scopes.inside or other not in self.scopes.inside or labels[one] != labels[other]:
            return
        if one not in self.found.forward and other not in self.found.backward:
            if self._contradicted(one, other):
                self.doubtful.append((one, other))
            else:
                self._pair(one, other)

    def _contradicted(self, one: Node, other: Node) -> bool:
        """Whether matched sources of the two are not each other's match."""
        return any(self.found.same_source(left, right) is False for left, right in self._sources_of(one, other))

    def _sources_of(self, one: Node, other: Node) -> Iterable[tuple[Source, Source]]:
        """Sources that two nodes have at the same slot; of captured ones those whose mark is there once."""
        if one not in self.scopes.with_bodies or other not in self.scopes.with_bodies:
            inputs = min(len(one.inputs), len(other.inputs))
            return zip(self.sources[one][:inputs], self.sources[other][:inputs], strict=True)
        rows: tuple[dict[int, list[Source]], ...] = ({}, {})
        for node, row in zip((one, other), rows, strict=True):
            for slot, source in self.scopes.reads(node):
                row.setdefault(slot, []).append(source)
        both = ((found, rows[1].get(slot, [])) for slot, found in rows[0].items())
        return [(mine[0], theirs[0]) for mine, theirs in both if len(mine) == len(theirs) == 1]

    def _accept_doubtful(self) -> None:
        for one, other in self.doubtful:
            if one not in self.found.forward and other not in self.found.backward:
                self._pair(one, other)
        self.doubtful.clear()

    def _anchor(self, labels: dict[Node, int]) -> None:
        """What makes the same output and, in a later step, the neighbours of every match so far."""
        left, right = self.scopes.graphs
        names = (
            {value: value for value in right.outputs}
            if left.kind == "main"
            else dict(zip(left.outputs, right.outputs, strict=False))
        )
        for value in left.outputs:
            one, other = self.scopes.a.source(left, value), self.scopes.b.source(right, names.get(value, ""))
            if isinstance(one, Made) and isinstance(other, Made) and one.slot == other.slot:
                self._match_if_alike(one.node, other.node, labels)
        if labels is self.places:
            self.changed.extend(
                (node, twin) for node in self.left if (twin := self.found.forward.get(node)) is not None
            )

    def _by_place(self) -> None:
        """Match the rest with what has the most matched neighbours in common, in one module and of one operator."""
        scored: list[tuple[int, int, int, Node, Node]] = []
        order = {node: number for number, node in enumerate((*self.left, *self.right))}
        for one in list(self.rest[0]):
            scores: dict[Node, int] = {}
            for candidate in self._candidates(one):
                if candidate not in self.found.backward and self.places[candidate] == self.places[one]:
                    scores[candidate] = scores.get(candidate, 0) + 1
            scored += [(-score, order[one], order[other], one, other) for other, score in scores.items()]
        for _, _, _, one, other in sorted(scored, key=lambda row: row[:3]):
            if one not in self.found.forward and other not in self.found.backward:
                self._pair(one, other)
        self.changed.clear()

    def _candidates(self, one: Node) -> Iterator[Node]:
        """Nodes of the other side that share a matched neighbour with ``one``, once for each of them."""
        for slot, source in self.scopes.reads(one):
            if isinstance(source, Made):
                image = self.found.forward.get(source.node)
                rows = self.scopes.readers.get(image, []) if image is not None else []
                if source.slot < len(rows) and len(rows[source.slot]) <= _MANY:
                    yield from (reader for reader, at in rows[source.slot] if at == slot)
        for readers in self.scopes.readers[one]:
            for reader, slot in readers:
                twin = self.found.forward.get(reader)
                if twin is not None and 0 <= slot < len(twin.inputs):
                    made = self.sources[twin][slot]
                    if isinstance(made, Made) and made.node in self.scopes.inside:
                        yield made.node


def _alike(mine: list[Node], theirs: list[Node], key: Callable[[Node], Hashable]) -> Iterator[tuple[Node, Node]]:
    """Pairs of nodes whose key both sides have once."""
    left: dict[Hashable, list[Node]] = {}
    right: dict[Hashable, list[Node]] = {}
    for nodes, found in ((mine, left), (theirs, right)):
        for node in nodes:
            found.setdefault(key(node), []).append(node)
    for name, nodes in left.items():
        others = right.get(name, [])
        if len(nodes) == len(others) == 1:
            yield nodes[0], others[0]
