"""Which parameter an initializer is: by its name, else by its values as they are, transposed, scaled or merged."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from modelexport.ir.arrays import Array
from modelexport.ir.io.trace_file import Trace
from modelexport.ir.modules import common_path
from modelexport.passes.evidence.names.parameters import owner_of
from modelexport.passes.evidence.values.fingerprints import (
    NUMEL,
    close_rows,
    fingerprint,
    is_rich,
    row_samples,
    similarity,
)

_ROWS = 0.9  # likeness of rows after their length was taken out: 8-bit weights reach about 0.97
_PARTS = (2, 3, 4)


@dataclass(frozen=True, slots=True)
class Owner:
    """The module an initializer belongs to, the rule that found it, and the parameters that say so."""

    path: str
    rule: str
    parameters: tuple[str, ...]


class WeightIndex:
    """The parameters of a trace, to be found by name or by value."""

    def __init__(self, trace: Trace | None) -> None:
        self.trace = trace
        self.names: dict[str, int] = {}
        self._by_size: dict[int, list[int]] = defaultdict(list)
        self._stats: dict[int, Array] = {}  # of the parameters of one size
        if trace is None:
            return
        self._table = trace.module_table()
        for i, parameter in enumerate(trace.parameters):
            for name in (parameter.name, *parameter.aliases):
                self.names.setdefault(name, i)
            if trace.parameter_stats[i][NUMEL] > 0:
                self._by_size[int(trace.parameter_stats[i][NUMEL])].append(i)

    def by_name(self, name: str) -> Owner | None:
        """The module that a parameter's name spells; exact with a trace."""
        if self.trace is not None and name in self.names:
            return self._one([self.names[name]], "parameter-name")
        path = owner_of(name) if self.trace is None else None
        return Owner(path, "parameter-name", (name,)) if path is not None else None

    def by_value(self, array: Array) -> Owner | None:
        """The module whose parameter has these values."""
        if self.trace is None or array.dtype.kind not in "fiu" or array.size < 2:
            return None
        stats, samples = fingerprint(array)
        if not is_rich(stats):
            return None
        same = self._close(stats)
        found = self._one(same, "weight-value")
        if found is not None or len(same) > 1:
            exact = [i for i in same if similarity(self.trace.parameter_samples[i], samples) > 0.999]
            return found or self._one(exact, "weight-value")
        return self._by_rows(array) or self._merged(array)

    def _by_rows(self, array: Array) -> Owner | None:
        """Scaled per output channel: a folded batch norm or a quantised weight, perhaps transposed."""
        if array.ndim < 2:
            return None
        centred = array.astype(np.float32)
        forms = [centred] if array.ndim > 2 else [centred, centred.T]
        best: list[tuple[float, int]] = []
        for form in forms:
            rows = row_samples(form)
            for i in self._by_size.get(array.size, ()):
                if self._shape(i) == form.shape:
                    best.append((similarity(self._trace().parameter_rows[i], rows), i))
        best.sort(reverse=True)
        if not best or best[0][0] < _ROWS:
            return None
        clear = len(best) == 1 or best[0][0] - best[1][0] > 0.2
        return self._one([best[0][1]], "weight-rows") if clear else None

    def _merged(self, array: Array) -> Owner | None:
        """Equal parts along one axis, each a parameter of its own: merged projections."""
        if array.ndim > 2:
            return None
        for axis in range(array.ndim):
            for parts in _PARTS:
                if array.shape[axis] % parts or array.size // parts not in self._by_size:
                    continue
                members = [self.by_part(part) for part in np.split(array, parts, axis)]
                known = [i for i in members if i is not None]
                if len(known) == parts and len(set(known)) == parts:
                    paths = [path for i in known for path in self._uses(i)]
                    return Owner(
                        common_path(paths), "weight-merged", tuple(self._trace().parameters[i].name for i in known)
                    )
        return None

    def by_part(self, array: Array) -> int | None:
        """The one parameter with these values, in any order."""
        stats, _ = fingerprint(array)
        if not is_rich(stats):
            return None
        same = self._close(stats)
        return same[0] if len(same) == 1 else None

    def _close(self, stats: Array) -> list[int]:
        """The parameters whose elements these are, in any order."""
        size = int(stats[NUMEL])
        numbers = self._by_size.get(size, [])
        if size not in self._stats:
            self._stats[size] = self._trace().parameter_stats[numbers]
        return [numbers[place] for place in np.flatnonzero(close_rows(self._stats[size], stats, 1e-3))]

    def _one(self, found: list[int], rule: str) -> Owner | None:
        paths = {path for i in found for path in self._uses(i)}  # more than one: a shared module says too little
        if len(paths) != 1:
            return None
        return Owner(paths.pop(), rule, (self._trace().parameters[found[0]].name,))

    def _trace(self) -> Trace:
        assert self.trace is not None
        return self.trace

    def _uses(self, i: int) -> tuple[str, ...]:
        """The names by which the module that owns a parameter was called."""
        module = self._trace().parameters[i].module
        return self._table.uses(self._trace().modules[module].path) if module >= 0 else ("",)

    def _shape(self, i: int) -> tuple[int, ...]:
        return self._trace().parameters[i].shape
