"""Building views: the graph form in which recorded runs and target graphs are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from modelexport.ir.arrays import Array
from modelexport.ir.editing.topology import in_order
from modelexport.ir.io.trace_file import SAMPLES, STATS, View
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.ir.operators import Category, category
from modelexport.ir.scope import Scope
from modelexport.passes.evidence.values.fingerprints import fingerprint, unknown
from modelexport.passes.evidence.values.initializers import Initializers
from modelexport.passes.running.graph_values import run_graph
from modelexport.passes.running.stepping import RunReport


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

    def value(self, stats: Array | None, samples: Array | None, shape: tuple[int, ...] = (), name: str = "") -> int:
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


def graph_view(
    model: Model,
    feeds: Mapping[str, Array],
    kind: str = "graph",
    example: int = 0,
    *,
    chunk_bytes: int = 256 << 20,
    progress: Callable[[int, int], None] | None = None,
    run: bool = True,
) -> tuple[ViewBuilder, list[Node], RunReport]:
    """A graph as a view: (view, its nodes in the order of events, what could not be run).

    The nodes of bodies are events too, after the node that owns them; their values are not known.
    """
    prints: dict[str, tuple[Array, Array, tuple[int, ...]]] = {}

    def keep(name: str, array: Array) -> None:
        prints[name] = (*fingerprint(array), array.shape)

    for name, array in feeds.items():
        keep(name, array)
    report = RunReport()
    if run:
        report = run_graph(model, feeds, keep, chunk_bytes=chunk_bytes, progress=progress)
    weights = Initializers(model)
    for name in weights:
        found = weights.get(name)
        if found is not None:
            keep(name, found)
    builder = ViewBuilder(kind, example)
    nodes: list[Node] = []
    outer: dict[str, int] = {}
    _add_scope(model.main, outer, prints, builder, nodes)
    builder.inputs = {name: outer[name] for name in model.main.inputs if name in outer}
    return builder, nodes, report


def _add_scope(
    graph: Scope,
    values: dict[str, int],
    prints: Mapping[str, tuple[Array, Array, tuple[int, ...]]],
    builder: ViewBuilder,
    nodes: list[Node],
) -> None:
    is_main = graph.kind == "main"

    def number(name: str) -> int:
        if not name:
            return -1
        held = values.get(name)
        if held is None:
            stats, samples, shape = prints.get(name, (None, None, ())) if is_main else (None, None, ())
            held = values[name] = builder.value(stats, samples, shape, name)
        return held

    for name in graph.inputs:
        number(name)
    for node in in_order(graph):
        path = node.attribution.path if node.attribution is not None else None
        reads = [number(name) for name in (*node.inputs, *node.captures)]
        made = node.outputs
        if category(node.op_type) is Category.QUANTIZE and node.inputs and node.inputs[0] not in graph.initializers_set:
            # Only the representation changes: what reads the result reads, for matching, what was quantised.
            values[made[0]] = reads[0]
            made = made[1:]
        builder.event(node.op_type, path, reads, [number(name) for name in made], node.name)
        nodes.append(node)
        for body in node.bodies:
            _add_scope(body, dict(values), prints, builder, nodes)
