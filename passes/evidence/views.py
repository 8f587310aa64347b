"""Building views: the graph form in which recorded runs and target graphs are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from modelexport.ir.io.trace_file import SAMPLES, STATS, View
from modelexport.passes.evidence.fingerprints import unknown

Array = npt.NDArray[Any]


class ViewBuilder:
    """A view being recorded: values get ids as they appear, events name their modules by path (None: not known)."""

    def __init__(self, kind: str, example: int) -> None:
        self.kind, self.example = kind, example
        self.inputs: dict[str, int] = {}
        self._ops: list[str] = []
        self._modules: list[str | None] = []
        self._nodes: list[str] = []
        self._in: list[Sequence[int]] = []
        self._out: list[Sequence[int]] = []
        self._stats: list[Array] = []
        self._samples: list[Array] = []
        self._shapes: list[tuple[int, ...]] = []
        self._names: list[str] = []

    def value(
        self, stats: Array | None, samples: Array | None, shape: tuple[int, ...] = (), name: str = ""
    ) -> int:
        """Add a value; its id."""
        if stats is None or samples is None:
            stats, samples = unknown()
        self._stats.append(stats)
        self._samples.append(samples)
        self._shapes.append(shape)
        self._names.append(name)
        return len(self._names) - 1

    def event(self, op: str, path: str | None, reads: Sequence[int], makes: Sequence[int], node: str = "") -> None:
        """Add an event."""
        self._ops.append(op)
        self._modules.append(path)
        self._nodes.append(node)
        self._in.append(reads)
        self._out.append(makes)

    def build(self, index: Mapping[str, int]) -> View:
        """The view; ``index`` gives the number of each module path."""
        ops = {op: i for i, op in enumerate(dict.fromkeys(self._ops))}
        in_offsets, in_ids = _csr(self._in)
        out_offsets, out_ids = _csr(self._out)
        dim_offsets, dims = _csr(self._shapes)
        return View(
            self.kind,
            self.example,
            tuple(ops),
            np.array([ops[op] for op in self._ops], np.int32),
            np.array([-1 if path is None else index.get(path, -1) for path in self._modules], np.int32),
            in_offsets,
            in_ids.astype(np.int32),
            out_offsets,
            out_ids.astype(np.int32),
            np.array(self._stats, np.float64).reshape(-1, STATS),
            np.array(self._samples, np.float32).reshape(-1, SAMPLES),
            dim_offsets,
            dims,
            tuple(self._nodes) if any(self._nodes) else (),
            tuple(self._names) if any(self._names) else (),
            self.inputs,
        )


def _csr(rows: Sequence[Sequence[int]]) -> tuple[Array, Array]:
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    return offsets, np.array([item for row in rows for item in row], np.int64)
