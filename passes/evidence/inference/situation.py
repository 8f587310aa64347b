"""What an inferred module rests on: how much around a node is on record, and how near.

A node is *placed* where stronger evidence than its neighbours decided it. One that computes with a weight nobody's name
is on is *unplaced*: it is from a module of its own that nothing in the graph names, so what is inferred for it, and for
what lies between such nodes, is rarely exact. The features here are what ``confidence.json`` was fitted to.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence, Set
from typing import NamedTuple

import onnx

from modelexport.ir.model import Model
from modelexport.ir.operators import CARRIERS, category
from modelexport.ir.text import text
from modelexport.passes.evidence.inference.flow import Flow, Kind

PLACED, UNPLACED = 1, 2  # bits: what the nearest nodes that say anything are
STEPS = 20  # shares are told apart in twentieths
_HOPS = (0, 1, 2, 4, 8)
_FLOATS = frozenset((1, 2, 3, 10, 11, 16))  # ONNX's numbers of the float types and of 8-bit integers


class Place(NamedTuple):
    """What lies around one node.

    Attributes:
        operator: its operator type.
        kind: what its value is made of.
        unplaced: whether it computes with a weight that no known module owns.
        before, after: bits of what the nearest telling nodes are that its data comes from, that its value goes to.
        hops_before, hops_after: how far the nearest of them are, in classes.
        makers, readers: how many nodes it reads from and is read by, at most 3.
    """

    operator: str
    kind: int
    unplaced: bool
    before: int
    after: int
    hops_before: int
    hops_after: int
    makers: int
    readers: int


class Situation(NamedTuple):
    """What a guess for one node rests on.

    Attributes:
        rule: the rule that made the guess.
        place: what lies around the node.
        by_rule, by_place: the same of the node whose own guess decided this one; of this one where there is none.
        placed: twentieths of the telling nodes of the graph that are placed.
        support: twentieths of the model's nodes that stronger evidence attributed.
        modules_before, modules_after: how many modules the nearest placed nodes are of, at most 4.
        fit_before, fit_after: how the guess lies to those: 0 there are none, 1 one of them, 2 the parent of one,
            3 further above one, 4 elsewhere.
        depth: atoms of the guess, at most 6.
    """

    rule: str
    place: Place
    by_rule: str
    by_place: Place
    placed: int
    support: int
    modules_before: int
    modules_after: int
    fit_before: int
    fit_after: int
    depth: int


class Surroundings:
    """The places of one graph's nodes, by their position in ``flow``.

    ``placed`` says which nodes stronger evidence decided; ``nameless`` has the weights that no module's name is on, of
    all scopes, since bodies read those of the graphs around them.
    """

    def __init__(self, flow: Flow, placed: Sequence[object | None], nameless: Set[str]) -> None:
        self._flow = flow
        unplaced = _unplaced(flow, placed, nameless)
        self._unplaced = unplaced
        self._state = [
            PLACED if path is not None else UNPLACED if lone else 0 for path, lone in zip(placed, unplaced, strict=True)
        ]
        count = len(flow.nodes)
        self._before, self._hops_before = self._nearest(range(count), flow.before, data_only=True)
        self._after, self._hops_after = self._nearest(range(count - 1, -1, -1), flow.after, data_only=False)
        telling = sum(map(bool, self._state))
        self.placed = twentieths(self._state.count(PLACED), telling)

    def place(self, index: int) -> Place:
        """What lies around one node."""
        flow = self._flow
        return Place(
            flow.nodes[index].op_type,
            int(flow.kind[index]),
            self._unplaced[index],
            self._before[index],
            self._after[index],
            bisect_left(_HOPS, self._hops_before[index]),
            bisect_left(_HOPS, self._hops_after[index]),
            min(3, len(flow.before[index])),
            min(3, len(flow.after[index])),
        )

    def _nearest(
        self, order: Sequence[int], neighbours: Sequence[Sequence[int]], *, data_only: bool
    ) -> tuple[list[int], list[int]]:
        """For nodes that are not placed: bits of the nearest telling nodes on one side, and edges to the nearest."""
        state, kind = self._state, self._flow.kind
        bits, hops = [0] * len(state), [0] * len(state)
        for index in order:
            if state[index] == PLACED:
                continue
            seen, near = 0, 0
            for other in neighbours[index]:
                if data_only and kind[other] < Kind.DATA:
                    continue
                seen |= state[other] or bits[other]
                far = 1 if state[other] else hops[other] + 1
                near = min(near or far, far)
            bits[index], hops[index] = seen, near
        return bits, hops


def fit(path: str, others: Sequence[str]) -> int:
    """How ``path`` lies to ``others``, as in :class:`Situation`."""
    if not others:
        return 0
    if path in others:
        return 1
    if any(other.rpartition(".")[0] == path for other in others):
        return 2
    return 3 if not path or any(other.startswith(path + ".") for other in others) else 4


def twentieths(part: int, whole: int) -> int:
    """The share ``part / whole`` in twentieths; all of nothing is all."""
    return round(STEPS * part / whole) if whole else STEPS


def nameless_weights(model: Model, owned: Set[str]) -> frozenset[str]:
    """Initializers that may be weights (floats, or 8-bit integers, of more than one element) and are not ``owned``."""
    return frozenset(
        name
        for graph in model.graphs()
        if isinstance(graph.proto, onnx.GraphProto)
        for tensor in graph.proto.initializer
        if tensor.data_type in _FLOATS
        and any(extent > 1 for extent in tensor.dims)
        and (name := text(tensor.name)) not in owned
    )


def nameless_vectors(model: Model, owned: Set[str]) -> frozenset[str]:
    """Float initializers and constants that are not ``owned`` and have one axis of more than one element: biases."""
    found: set[str] = set()
    for graph in model.graphs():
        if isinstance(graph.proto, onnx.GraphProto):
            found.update(text(each.name) for each in graph.proto.initializer if _is_vector(each))
        for node in graph.nodes:
            if node.op_type == "Constant":
                found.update(node.first_output for each in node.attribute_protos() if _is_vector(each.t))
    return frozenset(found.difference(owned))


def _is_vector(tensor: onnx.TensorProto) -> bool:
    wide = sum(extent > 1 for extent in tensor.dims)
    return tensor.data_type in _FLOATS and (wide == 1 or (not wide and len(tensor.dims) > 2))  # of one channel


def _unplaced(flow: Flow, placed: Sequence[object | None], nameless: Set[str]) -> list[bool]:
    """Which nodes that are not placed compute with a nameless weight, as it is or cast, moved or dequantised."""
    found = [False] * len(flow.nodes)
    if not nameless:
        return found
    initializers = flow.graph.initializers_set
    made: dict[str, bool] = {}  # values that are made of initializers alone, and whether of such a weight
    for index, node in enumerate(flow.nodes):
        reads = not nameless.isdisjoint(node.inputs) or any(made.get(value, False) for value in node.inputs)
        carries = category(node.op_type) in CARRIERS
        if not reads and not carries:
            continue
        lookup = node.op_type == "Gather"
        inputs = [value for value in node.inputs if value]
        if inputs and carries and all(value in initializers or value in made or value in nameless for value in inputs):
            made.update(dict.fromkeys(node.outputs, reads))
            if not lookup:
                continue
        if reads and placed[index] is None:
            found[index] = lookup or flow.kind[index] == Kind.DATA
    return found
