"""Two graphs compared: both run in step, and the candidate once more with the reference's values put in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from modelexport.analysis.divergence.comparison import Compared, Comparison
from modelexport.analysis.divergence.error import Error, deviation
from modelexport.analysis.divergence.quantised_values import QuantisedForm, quantised_forms
from modelexport.analysis.divergence.result import OutputError
from modelexport.analysis.divergence.segments import path_of
from modelexport.analysis.divergence.value_pairs import output_pairs, same_names
from modelexport.analysis.divergence.weights import WeightsDiffer
from modelexport.ir.arrays import Array
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.operators import draws_random
from modelexport.ir.text import readable
from modelexport.passes.running.named_copy import named_copy
from modelexport.passes.running.session import SessionSettings, element_type
from modelexport.passes.running.static_shapes import inferred, read_scopes
from modelexport.passes.running.stepping import Reader, SteppedRun

CHUNK_BYTES = 64 << 20  # of each of the three runs; with what they keep less than 256 MB of values a graph
Progress = Callable[[int, int], None]


class ReferenceValues:
    """The reference's run, driven on as far as a value is needed. A value is held until nobody asks for it any more."""

    def __init__(self, model: Model, feeds: Mapping[str, Any], wanted: Mapping[str, int], chunk_bytes: int) -> None:
        self._run = SteppedRun(
            model, feeds, chunk_bytes=chunk_bytes, sizes=known_sizes(model, feeds), what="compare-values"
        )
        self._reader = Reader()
        self._wanted = dict(wanted)
        self._held: dict[str, Array | None] = {}
        self._makers = {value: node for node in model.main.nodes for value in node.outputs}

    @property
    def position(self) -> int:
        """Number of nodes that were run."""
        return self._run.position

    @property
    def problem(self) -> str:
        """Why nodes can't be run, where some can't."""
        return self._run.report.problem

    def take(self, name: str) -> Array | None:
        """A value, for one of those who want it; None where it can't be computed or is no tensor of numbers."""
        while name not in self._held and not self._run.done:
            self._step()
        found = self._held.get(name)
        self._wanted[name] -= 1
        if not self._wanted[name]:
            self._held.pop(name, None)
        return found

    def _step(self) -> None:
        chunk = self._run.next_chunk()
        made = self._run.step(chunk)
        for node in chunk:
            for name in node.outputs:
                if self._wanted.get(name):
                    self._held[name] = self._reader.array(made[name]) if name in made else None


def known_sizes(model: Model, feeds: Mapping[str, Any]) -> dict[str, int]:
    """Bytes of values of the main graph, as the file or onnx's inference tells them for these inputs."""
    shapes = {name: tuple(value.shape()) for name, value in feeds.items() if value.has_value() and value.is_tensor()}
    copy = named_copy(model, metadata=False, weights=False)
    proto, _ = inferred(copy.proto, shapes)
    values = read_scopes(copy.proto if proto is None else proto, shapes)[0].values
    return {name: value.nbytes for name, value in values.items() if value.nbytes}


def compare_graphs(
    reference: Model,
    candidate: Model,
    reference_feeds: Mapping[str, Any],
    candidate_feeds: Mapping[str, Any],
    *,
    rtol: float | None,
    settings: SessionSettings,
    progress: Progress | None,
    chunk_bytes: int = CHUNK_BYTES,
) -> tuple[Comparison, list[OutputError], int]:
    """Errors of every value that both graphs make under one name, of the outputs, and how many values have no pair."""
    quantised = quantised_forms(reference, candidate)
    names = {**same_names(reference, candidate), **{value: form.name for value, form in quantised.items()}}
    results = output_pairs(reference.main.outputs, candidate.main.outputs)
    wanted: dict[str, int] = {}
    for name in (*names.values(), *(name for name, _ in results)):
        wanted[name] = wanted.get(name, 0) + 1
    source = ReferenceValues(reference, reference_feeds, wanted, chunk_bytes)
    sizes = known_sizes(candidate, candidate_feeds)
    plain, corrected = (
        SteppedRun(
            candidate, candidate_feeds, chunk_bytes=chunk_bytes, sizes=sizes, settings=settings, what="compare-values"
        )
        for _ in range(2)
    )
    comparison = Comparison(candidate, reference, rtol)
    comparison.judge_weights(WeightsDiffer(reference, candidate).owners)
    judge = _Judge(comparison, reference, Reader(), quantised)
    outputs = _Outputs(candidate, results)
    while not plain.done:
        chunk = plain.next_chunk()
        made = plain.step(chunk)
        judge.note_kinds(made)
        given: dict[str, Any] = {}
        expected: dict[str, Array] = {}
        for value in _made_by(chunk):
            if value not in names:
                continue
            name = names[value]
            found = source.take(name)
            if found is not None and value in made and judge.takes(value, name, made[value], found):
                expected[value] = found
                given[value] = judge.put_in(value, made[value], found)
        outputs.note(made, judge.reader)
        computed = corrected.step(chunk, given)
        judge.errors(computed, expected)
        if progress is not None:
            progress(plain.position, len(plain.order))
    rows = outputs.rows(source, reference)
    comparison.stops = outputs.missing
    comparison.problem, comparison.left_out = plain.report.problem or source.problem, plain.report.unknown
    comparison.finish(candidate.main.outputs)
    return comparison, rows, _unpaired(reference, comparison)


def _made_by(nodes: Sequence[Node]) -> Iterator[str]:
    for node in nodes:
        yield from (value for value in node.outputs if value)


def _unpaired(reference: Model, comparison: Comparison) -> int:
    compared = {each.name for each in comparison.values.values()}
    return sum(value not in compared for value in _made_by(reference.main.nodes))


class _Judge:
    """Decides which values are compared, and computes their errors."""

    def __init__(
        self, comparison: Comparison, reference: Model, reader: Reader, quantised: Mapping[str, QuantisedForm]
    ) -> None:
        self._quantised = quantised
        self._comparison = comparison
        self._reference = reference
        self._candidate = comparison.candidate
        self.reader = reader
        self._random = random_values(self._candidate)

    def note_kinds(self, made: Mapping[str, Any]) -> None:
        """Remember the element types of the candidate's values."""
        self._comparison.kinds.update(
            (name, value.data_type()) for name, value in made.items() if value.has_value() and value.is_tensor()
        )

    def takes(self, value: str, name: str, computed: Any, expected: Array) -> bool:
        """Whether a value is one of both graphs; its error in the plain run is noted."""
        array = self._numbers(value, computed)
        if array is None:
            return False
        maker = self._reference.main.producer(name)
        path = path_of(maker) if maker is not None else ""
        if array.shape != expected.shape:
            self._comparison.values[value] = Compared(value, name, path, misshapen=True)
            return False
        if value in self._random:
            return True
        self._comparison.values[value] = Compared(value, name, path, accumulated=deviation(array, expected))
        self._comparison.values[value].quantised = value in self._quantised
        return True

    def _numbers(self, value: str, computed: Any) -> Array | None:
        """What a value of the candidate stands for; None for what is no tensor of numbers."""
        array = self.reader.array(computed)
        form = self._quantised.get(value)
        return form.numbers(array) if form is not None and array is not None else array

    def put_in(self, value: str, computed: Any, expected: Array) -> Any:
        """The reference's value in the candidate's element type."""
        if value in self._quantised:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(element_type(computed.data_type()))
            expected = self._quantised[value].integers(expected, dtype)
        kind = element_type(computed.data_type())
        array = np.ascontiguousarray(expected).reshape(expected.shape)  # a scalar would become a vector of one
        made = self.reader.library.OrtValue.ortvalue_from_numpy(array)
        return made if element_type(made.data_type()) == kind else self.reader.cast(made, kind)

    def errors(self, computed: Mapping[str, Any], expected: Mapping[str, Array]) -> None:
        """The errors of values that were computed from the reference's values."""
        for value, reference in expected.items():
            each = self._comparison.values.get(value)
            if each is None:
                continue
            array = self._numbers(value, computed[value]) if value in computed else None
            if array is None or array.shape != reference.shape:
                del self._comparison.values[value]
                continue
            each.introduced = deviation(array, reference)
            self._comparison.seen(value, array, reference)


def random_values(model: Model) -> set[str]:
    """Values of the main graph that differ from run to run by their own maker."""
    return {value for node in model.main.nodes if draws_random(node.op_type, node.inputs) for value in node.outputs}


class _Outputs:
    """Outputs of the two graphs in their plain runs."""

    def __init__(self, candidate: Model, pairs: Sequence[tuple[str, str]]) -> None:
        self._candidate, self._pairs = candidate, pairs
        self._arrays: dict[str, Array] = {}
        self._wanted = {value for _, value in pairs}
        self._made: set[str] = set()
        self.missing = False  # whether the candidate lacks an output that the reference has

    def note(self, made: Mapping[str, Any], reader: Reader) -> None:
        """Keep what is an output."""
        for value in self._wanted.intersection(made):
            self._made.add(value)
            array = reader.array(made[value])
            if array is not None:
                self._arrays[value] = array

    def rows(self, source: ReferenceValues, reference: Model) -> list[OutputError]:
        """Their errors, in the candidate's order."""
        found: list[OutputError] = []
        for name, value in self._pairs:
            expected, array = source.take(name), self._arrays.get(value)
            error: Error | None = None
            if expected is not None and value not in self._made and self._candidate.main.producer(value) is not None:
                self.missing = True
            if expected is not None and array is not None and expected.shape == array.shape:
                error = deviation(array, expected)
            found.append(
                OutputError(
                    readable(value),
                    error.relative if error is not None else None,
                    error.max_abs if error is not None else None,
                )
            )
        return found
