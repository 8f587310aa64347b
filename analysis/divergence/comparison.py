"""The state of one comparison: errors by value as they come in, and the verdict over them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from modelexport.analysis.divergence.error import Error, odd_values
from modelexport.analysis.divergence.result import First, ModuleError, NotFinite, OutputError
from modelexport.analysis.divergence.segments import QUANTISED, Segments, computed_kinds, path_of, tolerance, with_inner
from modelexport.ir.arrays import Array
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.text import readable
from modelexport.passes.evidence.values.initializers import Initializers

Differ = Callable[[Sequence[Node], Sequence[Node]], list[tuple[str, str]]]


@dataclass(slots=True)
class Compared:
    """One value that both sides make.

    Attributes:
        value: its name in the candidate.
        name: its name in the reference's graph, or the candidate's where the reference has no graph.
        path: the module that makes it.
        misshapen: whether the two have different shapes, so that nothing is known but that.
        quantised: whether the candidate's are integers that stand for numbers.
    """

    value: str
    name: str
    path: str
    introduced: Error | None = None
    accumulated: Error | None = None
    tolerance: float = 0.0
    misshapen: bool = False
    quantised: bool = False

    @property
    def diverges(self) -> bool:
        """Whether it goes wrong by itself."""
        return self.introduced is not None and self.introduced.relative > self.tolerance


class Comparison:
    """Compared values in the candidate's execution order, and what is said of them.

    Args:
        candidate: the graph that is judged; its nodes have modules.
        graph: the graph whose modules are named: the reference's, or the candidate's where the reference has none.
        rtol: tolerance for every value; by the precision of the arithmetic unless given.
    """

    def __init__(self, candidate: Model, graph: Model, rtol: float | None = None) -> None:
        self.candidate, self.graph, self.rtol = candidate, graph, rtol
        self.values: dict[str, Compared] = {}
        self.kinds: dict[str, str] = {}  # element types of the candidate's values
        self._weights = Initializers(candidate)
        self.stops = False  # whether outputs of the candidate can't be computed that the reference has
        self.problem = ""  # why nodes can't be run, where some can't
        self.left_out = 0  # nodes of the candidate that can't be run, or read what others would have made
        self.odd: dict[str, tuple[str, str]] = {}  # nan or inf in (candidate, reference), by value
        self._weights_differ: Differ = lambda nodes, theirs: []

    def judge_weights(self, differ: Differ) -> None:
        """``differ`` tells (path, name) of weights that nodes of the reference read and that are others in the nodes of
        the candidate that make the same value."""
        self._weights_differ = differ

    def seen(self, value: str, computed: Array, expected: Array) -> None:
        """Note what is not finite in a value that was computed from the reference's values."""
        kinds = odd_values(computed), odd_values(expected)
        if any(kinds):
            self.odd[value] = kinds

    @property
    def agrees(self) -> bool:
        """Whether no value goes wrong by itself."""
        return not any(each.diverges for each in self.values.values())

    def finish(self, outputs: Collection[str]) -> None:
        """Set the tolerances, once all values are known.

        Values of one name and different shapes are not the same value, unless that shows in ``outputs``, or the
        candidate can't be run to its end: then the first of them is wrong beyond measure.
        """
        misshapen = [each for each in self.values.values() if each.misshapen]
        if misshapen and (self.stops or any(each.value in outputs for each in misshapen)):
            misshapen[0].introduced = misshapen[0].accumulated = Error(math.inf, math.inf)
            del misshapen[0]
        for each in misshapen:
            del self.values[each.value]
        segments = Segments(self.candidate, self.values.keys())
        computed = computed_kinds(self.candidate, self.kinds)
        for each in self.values.values():
            if self.rtol is not None:
                each.tolerance = self.rtol
            elif each.quantised:
                each.tolerance = QUANTISED
            else:
                each.tolerance = tolerance(segments.nodes(each.value), self.kinds, each.value, computed)

    @property
    def largest_agreeing(self) -> float:
        """The largest introduced error within its tolerance."""
        fine = [v.introduced.relative for v in self.values.values() if v.introduced is not None and not v.diverges]
        return max(fine, default=0.0)

    def notes(self, outputs: Sequence[OutputError]) -> tuple[str, ...]:
        """What a user should know besides, one line each: nodes that don't run, and small errors that add up."""
        said = []
        if self.left_out:
            nodes = f"{self.left_out} node{'s' * (self.left_out > 1)}"
            said.append(f"{nodes} can't be run, and what they make is not compared: {self.problem}")
        apart = [
            (output.error, self.values[name].tolerance, output.name)
            for name, output in zip(self.candidate.main.outputs, outputs, strict=False)
            if name in self.values and output.error is not None and output.error > self.values[name].tolerance
        ]
        if self.agrees and apart:
            error, allowed, name = max(apart)
            over = (v for v in self.values.values() if v.accumulated and v.accumulated.relative > allowed)
            first = next((f", and first {readable(v.value)} of {v.path or '.'}" for v in over), "")
            said.append(
                f"no module goes wrong by itself, but errors add up: output {name} differs by {error:.2g}{first}"
            )
        return tuple(said)

    def first(self, call_of: Callable[[str, str], int]) -> First | None:
        """The verdict; ``call_of(path, value)`` is the number of the call that made a value."""
        wrong = next((each for each in self.values.values() if each.diverges), None)
        if wrong is None or wrong.introduced is None:
            return None
        path, nodes, changed = self._blamed(wrong)
        owners = dict.fromkeys(path for path, _ in changed)
        ordered = list(dict.fromkeys([*owners, wrong.path, *map(path_of, with_inner(nodes))]))
        return First(
            path,
            self.tag(path),
            call_of(path, wrong.name),
            tuple(ordered),
            readable(wrong.value),
            wrong.introduced.relative,
            wrong.accumulated.relative if wrong.accumulated is not None else None,
            wrong.introduced.max_abs,
            tuple(readable(name) for _, name in changed),
        )

    def _blamed(self, wrong: Compared) -> tuple[str, list[Node], list[tuple[str, str]]]:
        """The module at fault for a value, the reference's nodes that lead to it, and the weights of these that differ.

        It is the only one that reads such a weight, else the one that makes the value.
        """
        nodes = Segments(self.graph, {each.name for each in self.values.values()}).nodes(wrong.name)
        changed = self._weights_differ(nodes, Segments(self.candidate, self.values.keys()).nodes(wrong.value))
        owners = {path for path, _ in changed}
        return owners.pop() if len(owners) == 1 else wrong.path, nodes, changed

    def modules(self, listed: Mapping[str, None]) -> list[ModuleError]:
        """A row for each module, the largest introduced error first; ``listed`` are modules that may have no value."""
        rows = {path: ModuleError(path, self.tag(path)) for path in listed}
        for each in self.values.values():
            if each.introduced is None:
                continue
            path = self._blamed(each)[0] if each.diverges else each.path
            row = rows.setdefault(path, ModuleError(path, self.tag(path)))
            row.values += 1
            row.introduced = max(row.introduced or 0.0, each.introduced.relative)
            row.max_abs = max(row.max_abs or 0.0, each.introduced.max_abs)
            if each.accumulated is not None:
                row.accumulated = max(row.accumulated or 0.0, each.accumulated.relative)
            if each.diverges:
                row.status = "diverges"
            elif row.status != "diverges":
                over = each.accumulated is not None and each.accumulated.relative > each.tolerance
                row.status = "carries" if over or row.status == "carries" else "agrees"
        return sorted(rows.values(), key=lambda row: -(row.introduced if row.introduced is not None else -1.0))

    def not_finite(self) -> NotFinite | None:
        """The first value that has NaN or infinity where nothing it is made of has."""
        found: NotFinite | None = None
        for value, each in self.values.items():
            mine, theirs = self.odd.get(value, ("", ""))
            if not (mine or theirs) or self._reads_odd(value):
                continue
            if mine and not theirs:
                return NotFinite(each.path, readable(value), mine, False)
            if found is None and mine and theirs:
                found = NotFinite(each.path, readable(value), mine, True)
        return found

    def _reads_odd(self, value: str) -> bool:
        """Whether a value is made from values, or constants, that are not finite in the reference."""
        nodes = Segments(self.candidate, self.values.keys()).nodes(value)
        inner = {name for node in nodes for name in node.outputs}
        read = {name for node in nodes for name in (*node.inputs, *node.captures) if name and name not in inner}
        return any(self.odd.get(name, ("", ""))[1] or self._is_odd_weight(name) for name in read)

    def _is_odd_weight(self, name: str) -> bool:
        array = self._weights.get(name) if name in self._weights else None
        return array is not None and bool(odd_values(array))

    def tag(self, path: str) -> str:
        """The tag of a module."""
        table = self.graph.modules
        return table.tags().get(path, "") if path in table else ""
