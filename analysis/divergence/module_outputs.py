"""A reference that is no graph: the outputs of module calls, matched with values at the modules' boundaries.

Of the values that a call's nodes give out, the one that equals an output of the call within 1e-3 is that output; where
none does, the only one of its shape. A module without such a value is not compared.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from modelexport.analysis.divergence.comparison import Compared, Comparison
from modelexport.analysis.divergence.error import Error, deviation
from modelexport.analysis.divergence.graphs import CHUNK_BYTES, known_sizes, random_values
from modelexport.analysis.divergence.result import OutputError
from modelexport.ir.arrays import Array
from modelexport.ir.errors import ConfigError
from modelexport.ir.io.subgraph import is_inside
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.text import readable
from modelexport.passes.partition.members import of_call
from modelexport.passes.running.session import SessionSettings, element_type
from modelexport.passes.running.stepping import Reader, SteppedRun

EQUAL = 1e-3  # relative error up to which a value at a module's boundary is the module's output


@dataclass(slots=True)
class _Kept:
    """An output of a module call, in memory or at a place of the temporary file."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    array: Array | None
    offset: int = 0


@dataclass(slots=True)
class ModuleReference:
    """Outputs of module calls, in execution order; ``add`` is called for each call that ended.

    What is over ``memory`` bytes goes to a temporary file.
    """

    label: str
    memory: int = CHUNK_BYTES
    outputs: dict[tuple[str, int], list[_Kept]] = field(default_factory=dict)
    _held: int = 0
    _file: Any = None
    _end: int = 0

    def add(self, path: str, call: int, arrays: Sequence[Array]) -> None:
        """Keep the outputs of one call."""
        self.outputs[path, call] = [self._keep(array) for array in arrays if array.dtype.kind in "biufc"]

    def array(self, kept: _Kept) -> Array:
        """The values of an output."""
        if kept.array is not None:
            return kept.array
        self._file.flush()
        count = int(np.prod(kept.shape, dtype=np.int64))
        if not count:
            return np.zeros(kept.shape, kept.dtype)
        mapped = np.memmap(self._file.name, kept.dtype, mode="r", offset=kept.offset, shape=(count,))
        return mapped.reshape(kept.shape)

    def close(self) -> None:
        """Remove the temporary file."""
        self.outputs.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _keep(self, array: Array) -> _Kept:
        if self._held + array.nbytes <= self.memory:
            self._held += array.nbytes
            return _Kept(array.shape, array.dtype, array)
        if self._file is None:
            self._file = tempfile.NamedTemporaryFile(prefix="modelexport-", suffix=".values")  # noqa: SIM115
        offset = -(-self._end // 64) * 64
        self._file.seek(offset)
        self._file.write(np.ascontiguousarray(array).tobytes())
        self._end = offset + array.nbytes
        return _Kept(array.shape, array.dtype, None, offset)


@dataclass(slots=True)
class _Match:
    path: str
    kept: _Kept
    value: str = ""
    deviation: Error | None = None
    like: list[str] = field(default_factory=list)  # values of its shape


def compare_modules(
    reference: ModuleReference,
    candidate: Model,
    feeds: Mapping[str, Any],
    *,
    rtol: float | None,
    settings: SessionSettings,
    progress: Callable[[int, int], None] | None,
    chunk_bytes: int = CHUNK_BYTES,
) -> tuple[Comparison, list[OutputError], int]:
    """Errors of every module output that a value of the candidate stands for, of the outputs of the whole, and how many
    module outputs no value stands for."""
    comparison = Comparison(candidate, candidate, rtol)
    matches = _matches(reference)
    boundaries = _boundaries(candidate, matches)
    reader = Reader()
    total = 2 * len(candidate.main.nodes)
    sizes = known_sizes(candidate, feeds)

    def stepped() -> SteppedRun:
        return SteppedRun(
            candidate, feeds, chunk_bytes=chunk_bytes, sizes=sizes, settings=settings, what="compare-values"
        )

    results: dict[str, Array] = {}
    plain = stepped()
    while not plain.done:
        for value, computed in plain.step().items():
            if computed.has_value() and computed.is_tensor():
                comparison.kinds[value] = computed.data_type()
            array = reader.array(computed)
            if array is not None and value in candidate.main.outputs:
                results[value] = array
            for match in boundaries.get(value, ()) if array is not None else ():
                _try(reference, match, value, array)
        if progress is not None:
            progress(plain.position, total)
    expected = _decided(matches, random_values(candidate))
    corrected = stepped()
    while not corrected.done:
        chunk = corrected.next_chunk()
        given = {
            value: _as_value(reference.array(expected[value].kept), comparison.kinds[value], reader)
            for node in chunk
            for value in node.outputs
            if value in expected
        }
        for value, computed in corrected.step(chunk, given).items():
            decided = expected.get(value)
            array = reader.array(computed) if decided is not None else None
            if decided is None or array is None:
                continue
            right = reference.array(decided.kept)
            each = Compared(value, value, decided.path)
            each.introduced = deviation(array, right)
            comparison.values[value] = each
            comparison.seen(value, array, right)
        if progress is not None:
            progress(len(plain.order) + corrected.position, total)
    for value, each in comparison.values.items():
        each.accumulated = expected[value].deviation
    comparison.problem, comparison.left_out = plain.report.problem, plain.report.unknown
    comparison.finish(())
    told = {id(match.kept) for match in expected.values()}
    left = sum(len(outputs) for outputs in reference.outputs.values()) - len(told)
    return comparison, _whole(reference, candidate, results), left


def _whole(reference: ModuleReference, candidate: Model, results: Mapping[str, Array]) -> list[OutputError]:
    """Outputs of the root's call against those of the graph, in order; none where their numbers differ."""
    kept = reference.outputs.get(("", 1), [])
    names = candidate.main.outputs
    if len(kept) != len(names):
        return []
    rows: list[OutputError] = []
    for name, output in zip(names, kept, strict=True):
        array = results.get(name)
        error = deviation(array, reference.array(output)) if array is not None and array.shape == output.shape else None
        numbers = (error.relative, error.max_abs) if error is not None else (None, None)
        rows.append(OutputError(readable(name), *numbers))
    return rows


def _matches(reference: ModuleReference) -> dict[tuple[str, int], list[_Match]]:
    return {key: [_Match(key[0], kept) for kept in outputs] for key, outputs in reference.outputs.items()}


def _boundaries(candidate: Model, matches: Mapping[tuple[str, int], list[_Match]]) -> dict[str, list[_Match]]:
    """The outputs that a value may be: of the calls whose nodes make it and outside of which it is read."""
    members: dict[str, list[Node]] = {path: [] for path, _ in matches}
    for node in candidate.main.nodes:
        path = node.attribution.path if node.attribution is not None else ""
        while True:
            if path in members:
                members[path].append(node)
            if not path:
                break
            path = path.rpartition(".")[0]
    found: dict[str, list[_Match]] = {}
    for (path, call), outputs in matches.items():
        for value in _given_out(candidate, _nodes_of(candidate, path, members[path], call)):
            found.setdefault(value, []).extend(outputs)
    return found


def _nodes_of(candidate: Model, path: str, members: list[Node], call: int) -> list[Node]:
    module = candidate.modules.get(path)
    if module is None or module.calls < 2:
        return members if call == 1 else []
    try:
        return of_call(candidate, path, members, call)
    except ConfigError:  # its calls can't be told apart: it is not compared
        return []


def _given_out(candidate: Model, nodes: Sequence[Node]) -> Iterator[str]:
    inside, outputs = set(nodes), set(candidate.main.outputs)
    for node in nodes:
        for value in node.outputs:
            if value and (value in outputs or any(r not in inside for r in candidate.main.consumers(value))):
                yield value


def _try(reference: ModuleReference, match: _Match, value: str, array: Array | None) -> None:
    kept = match.kept
    if array is None or array.shape != kept.shape or (array.dtype.kind in "fc") != (kept.dtype.kind in "fc"):
        return
    match.like.append(value)
    error = deviation(array, reference.array(match.kept))
    if match.deviation is None or error.relative < match.deviation.relative:
        match.value, match.deviation = value, error


def _decided(matches: Mapping[tuple[str, int], list[_Match]], random: set[str]) -> dict[str, _Match]:
    """The output that each value is: of several modules that give the same out, the innermost."""
    found: dict[str, _Match] = {}
    for outputs in matches.values():
        for match in outputs:
            if match.deviation is None or (match.deviation.relative > EQUAL and len(set(match.like)) != 1):
                continue
            value = match.value
            other = found.get(value)
            if value in random:
                continue
            if other is None or (is_inside(match.path, other.path) and match.path != other.path):
                found[value] = match
    return found


def _as_value(array: Array, kind: str, reader: Reader) -> Any:
    value = reader.library.OrtValue.ortvalue_from_numpy(np.array(array))
    wanted = element_type(kind)
    return value if element_type(value.data_type()) == wanted else reader.cast(value, wanted)
