"""Which weights of two graphs differ: by their names, else by what they hold."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from modelexport.analysis.divergence.segments import path_of, with_inner
from modelexport.ir.arrays import Array
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.passes.evidence.values.initializers import Initializers

_LARGEST = 1 << 26  # elements of a weight that is compared by content


class _Weights:
    """Initializers of a model by name; those of a body where no other body has one of that name."""

    def __init__(self, model: Model) -> None:
        self._main = Initializers(model)
        self._bodies: dict[str, Initializers | None] = {}
        for graph in model.graphs():
            held = Initializers(model, graph) if graph.kind == "body" and graph.initializers else None
            for name in graph.initializers if held is not None else ():
                self._bodies[name] = None if name in self._bodies else held

    def __contains__(self, name: str) -> bool:
        return name in self._main or self._bodies.get(name) is not None

    def get(self, name: str) -> Array | None:
        """The values; None where they can't be read."""
        return (self._main if name in self._main else self._bodies.get(name) or self._main).get(name)


class WeightsDiffer:
    """Weights that are others in the candidate than in the reference."""

    def __init__(self, reference: Model, candidate: Model) -> None:
        self._mine, self._theirs = _Weights(reference), _Weights(candidate)
        self._known: dict[str, bool] = {}

    def owners(self, nodes: Sequence[Node], theirs: Sequence[Node]) -> list[tuple[str, str]]:
        """(path of the module that reads it, name), each once.

        Args:
            nodes: of the reference; weights that they read are looked at.
            theirs: what makes the same value in the candidate.
        """
        found = {(path, name): None for name, path in _read(nodes) if self._differs(name)}
        return list(found) or self._by_content(nodes, theirs)

    def _differs(self, name: str) -> bool:
        """Whether a weight has one name, type and shape in both, and other values."""
        if name not in self._known:
            self._known[name] = name in self._mine and name in self._theirs and self._others(name)
        return self._known[name]

    def _others(self, name: str) -> bool:
        mine, theirs = self._mine.get(name), self._theirs.get(name)
        if mine is None or theirs is None or mine.dtype != theirs.dtype or mine.shape != theirs.shape:
            return False
        return not np.array_equal(mine, theirs, equal_nan=mine.dtype.kind in "fc")

    def _by_content(self, nodes: Sequence[Node], theirs: Sequence[Node]) -> list[tuple[str, str]]:
        """The one weight whose numbers are not in the candidate, where there is a tensor with as many other numbers.

        onnxruntime renames weights that it lays out anew for blocked convolutions, and onnxslim those that it turns.
        Without it every fault in a weight of regnet, residual and mobilenetv2 is only suspected at the level ``all``.
        """
        mine = {name: path for name, path in _read(nodes) if name in self._mine and name not in self._theirs}
        others = {name for name, _ in _read(theirs) if name in self._theirs and name not in self._mine}
        if not mine or not others:
            return []
        there = Counter(filter(None, (_content(self._theirs.get(name)) for name in others)))
        lost: list[tuple[str, int]] = []
        for name in mine:
            content = _content(self._mine.get(name))
            if content is not None and there[content]:
                there[content] -= 1
            elif content is not None:
                lost.append((name, content[1]))
        spare = {size for (_, size), count in there.items() if count}
        return [(mine[name], name) for name, size in lost if size in spare] if len(lost) == 1 else []


def _content(array: Array | None) -> tuple[bytes, int] | None:
    """What stays the same when a weight is turned or padded with zeros: its other numbers, and how many there are."""
    if array is None or array.dtype.kind != "f" or array.size > _LARGEST:
        return None
    numbers = np.sort(array[array != 0], axis=None)
    return hashlib.sha256(numbers.tobytes()).digest(), numbers.size


def _read(nodes: Sequence[Node]) -> list[tuple[str, str]]:
    """Values that nodes and those in their bodies read, each with the module that reads it."""
    return [(name, path_of(node)) for node in with_inner(nodes) for name in node.inputs if name]
