"""Where the time goes, by module: from a run under onnxruntime's profiler, or from a file that a profiler wrote."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from modelexport.analysis.module_rows import ModuleNumbers, ModuleRow
from modelexport.analysis.profiling import engine_events
from modelexport.analysis.profiling.flame import Leaf, chrome_trace, speedscope
from modelexport.analysis.profiling.measuring import Measured, Named, Names, Progress, Settings, measure, recorded_names
from modelexport.analysis.profiling.ort_events import Recording, Run, Slice, read_recording, recording
from modelexport.analysis.profiling.timings import Timing, timings, whole
from modelexport.ir.arrays import Array
from modelexport.ir.attribution import Source
from modelexport.ir.errors import InputError
from modelexport.ir.model import Model
from modelexport.ir.modules.order import first_nodes
from modelexport.ir.modules.table import ModuleTable, common_path
from modelexport.ir.text import readable, shown
from modelexport.passes.pipeline.attributed import attributed
from modelexport.passes.running.session import Optimization

_DEEPEST = 64  # bodies in bodies
_SHORT_US, _SHORT_SHARE = 2, 0.2  # onnxruntime counts whole microseconds


@dataclass(frozen=True, slots=True)
class NodeTime:
    """One node of the graph that ran. ``path`` is None where no module is known."""

    node: str
    op_type: str
    path: str | None
    us: float
    provider: str
    source: str | None
    confidence: float | None


@dataclass(frozen=True, slots=True)
class ProfileReport:
    """What ``profile`` found; times are microseconds of one run, medians over the runs that count.

    Attributes:
        source: ``onnxruntime`` or ``tensorrt``.
        runtime: version, optimisation, providers and threads, None where a file does not say them.
        run_us: median, minimum and 90th percentile of the time of a run; None where a file does not say it.
        modules: the tree, parents before children; numbers ``us``, ``nodes``, and by provider as ``us:<provider>``.
        nodes: in the order of first execution.
    """

    model_path: str
    source: str
    runtime: dict[str, Any]
    runs: int | None
    warmup: int | None
    run_us: dict[str, float | None]
    warnings: tuple[str, ...]
    modules: tuple[ModuleRow, ...]
    nodes: tuple[NodeTime, ...]
    timeline: tuple[Slice, ...] = field(repr=False, default=())

    @property
    def node_us(self) -> float:
        """Time of all nodes."""
        return whole(sum(node.us for node in self.nodes))

    @property
    def attributed_share(self) -> float | None:
        """Share of the nodes' time whose module is known other than by fallback; None where there is no time."""
        known = sum(n.us for n in self.nodes if n.path is not None and n.source != Source.FALLBACK)
        return known / self.node_us if self.node_us else None

    @property
    def providers(self) -> list[str]:
        """Execution providers that ran nodes, the one that took longest first."""
        times: dict[str, float] = {}
        for node in self.nodes:
            times[node.provider] = times.get(node.provider, 0.0) + node.us
        return sorted(times, key=lambda name: -times[name])

    def share(self, us: float) -> float | None:
        """Share of the nodes' time."""
        return us / self.node_us if self.node_us else None

    def to_dict(
        self, *, modules: Sequence[ModuleRow] | None = None, nodes: Sequence[NodeTime] | None = None
    ) -> dict[str, Any]:
        """The document that ``profile.schema.json`` describes; ``modules`` and ``nodes`` are those to list."""
        listed = self.nodes if nodes is None else nodes
        return {
            "format": "modelexport-profile",
            "schema_version": "1.0",
            "model_path": self.model_path,
            "source": self.source,
            "runtime": self.runtime,
            "runs": self.runs,
            "warmup": self.warmup,
            "run_us": self.run_us,
            "node_us": self.node_us,
            "attributed_share": self.attributed_share,
            "warnings": list(self.warnings),
            "modules": [self._module(row) for row in (self.modules if modules is None else modules)],
            "nodes": [
                {
                    "node": n.node,
                    "op_type": n.op_type,
                    "path": shown(n.path),
                    "us": n.us,
                    "provider": n.provider,
                    "source": n.source,
                    "confidence": n.confidence,
                }
                for n in listed
                if n.path is not None
            ],
            "unattributed": [{"node": n.node, "op_type": n.op_type, "us": n.us} for n in listed if n.path is None],
        }

    def _module(self, row: ModuleRow) -> dict[str, Any]:
        return {
            "path": shown(row.path),
            "tag": shown(row.tag),
            "parent": None if row.parent is None else shown(row.parent),
            "calls": row.calls,
            "self_us": whole(row.own["us"]),
            "total_us": whole(row.total["us"]),
            "share": self.share(row.total["us"]),
            "nodes": int(row.own["nodes"]),
            "providers": {
                name.removeprefix("us:"): whole(number)
                for name, number in row.total.items()
                if name.startswith("us:") and number
            },
        }

    def speedscope(self) -> dict[str, Any]:
        """A document that speedscope opens."""
        frames = self._frames()
        leaves = [Leaf(f"{n.op_type} {shown(n.node)}".strip(), frames[n.path or ""], n.us) for n in self.nodes]
        return speedscope(leaves, self.model_path or "model", "modelexport")

    def chrome_trace(self) -> dict[str, Any]:
        """Trace events of the run whose time is the median one."""
        frames = self._frames()
        paths = {node.node: node.path or "" for node in self.nodes}

        def leaf(each: Slice) -> Leaf:
            return Leaf(f"{each.op_type} {shown(each.name)}".strip(), frames[paths.get(each.name, "")], each.own)

        return chrome_trace(self.timeline, leaf, self.model_path or "model", {"source": self.source})

    def _frames(self) -> dict[str, tuple[str, ...]]:
        """By module, the frames from the root to it; containers are no frames."""
        frames: dict[str, tuple[str, ...]] = {}
        for row in self.modules:
            above = () if row.parent is None else frames[row.parent]
            skipped = row.is_container and not row.own["nodes"]
            frames[row.path] = above if skipped else (*above, shown(row.path or row.tag))
        return frames


def profile(
    model: Model | str | PathLike[str],
    inputs: Mapping[str, Array] | None = None,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    runs: int = 20,
    warmup: int = 5,
    optimization: Optimization = "all",
    providers: Sequence[str] = (),
    threads: int = 0,
    seed: int = 0,
    recorded: str | PathLike[str] | None = None,
    layer_info: str | PathLike[str] | None = None,
    save_profile: str | PathLike[str] | None = None,
    progress: Progress | None = None,
) -> ProfileReport:
    """Time by module.

    Args:
        model: a Model or a file; one without attributions is attributed on a copy, and nothing is changed.
        inputs, shapes, seed: as for ``cost``.
        runs, warmup: runs that count, and runs before them that don't.
        optimization: onnxruntime's level; with ``recorded`` the one that the model was run at.
        providers: execution providers, the preferred first; the CPU unless given.
        threads: threads inside an operator; 0 leaves it to onnxruntime.
        recorded: a profile that onnxruntime or trtexec wrote; the model is not run then.
        layer_info: what trtexec's ``--exportLayerInfo`` wrote for that profile.
        save_profile: where onnxruntime's own profile of the run is kept.
        progress: called with (done, total) after each run.

    Raises:
        InputError: a file can't be read, an input does not fit, or the model can't be run.
        MissingExtraError: onnxruntime is needed and not installed.
        OutputError: ``save_profile`` can't be written.
    """
    if runs < 1 or warmup < 0:
        raise InputError("profile: there must be a run that counts")
    source = attributed(model)
    if recorded is not None:
        return _recorded(source, Path(recorded), None if layer_info is None else Path(layer_info), optimization)
    settings = Settings(runs, warmup, optimization, tuple(providers), threads, seed)
    kept = None if save_profile is None else Path(save_profile)
    found = measure(source, inputs, shapes, settings, kept, progress)
    runtime: dict[str, Any] = {
        "version": found.version,
        "optimization": optimization,
        "providers": [],
        "threads": threads,
    }
    return _of_recording(source, found, runtime, warmup)


def _recorded(model: Model, path: Path, layer_info: Path | None, optimization: Optimization) -> ProfileReport:
    data: Any = None
    if not _is_written_by_line(path):
        data = engine_events.read_json(path)
        if engine_events.is_engine_profile(data):
            return _of_engine(model, data, layer_info, shown(str(path)))
    if layer_info is not None:
        raise InputError(f"{shown(str(path))}: layer information belongs to a profile of trtexec, which this is not")
    if data is None:
        read = read_recording(path)
    else:
        events = data.get("traceEvents") if isinstance(data, dict) else data
        if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
            raise InputError(f"{shown(str(path))}: neither a profile of onnxruntime nor one of trtexec")
        read = recording(events, 1, shown(str(path)))
    names, modules = recorded_names(model, read, optimization)
    runtime: dict[str, Any] = {"version": None, "optimization": optimization, "providers": [], "threads": None}
    return _of_recording(model, Measured(read, names, "", modules), runtime, None)


def _is_written_by_line(path: Path) -> bool:
    """Whether a profile looks like one that onnxruntime wrote, which may be read line by line."""
    try:
        with path.open("rb") as stream:
            head = stream.read(4096)
    except OSError as error:
        raise InputError(f"{shown(str(path))}: {error.strerror or error}") from error
    return head.startswith(b"[\n{") and b'"cat"' in head.split(b"\n")[1]


def _of_recording(model: Model, found: Measured, runtime: dict[str, Any], warmup: int | None) -> ProfileReport:
    read: Recording = found.recording
    times = timings(read.runs)
    around = _around(read.runs)
    nodes = [_node(each, found.names, around) for each in times]
    durations = [run.duration for run in read.runs if run.duration is not None]
    report_warnings = list(read.warnings)
    total = sum(each.us for each in times)
    short = sum(each.us for each in times if each.us < _SHORT_US)
    if total and short > _SHORT_SHARE * total:
        share = f"{short / total:.0%} of the time is in nodes below {_SHORT_US} us"
        report_warnings.append(f"{share}, and onnxruntime counts whole microseconds")
    report = ProfileReport(
        model_path=str(model.path or ""),
        source="onnxruntime",
        runtime=runtime,
        runs=len(read.runs),
        warmup=warmup,
        run_us=_run_us(durations),
        warnings=tuple(report_warnings),
        modules=tuple(_rows(model, nodes, found.modules)),
        nodes=tuple(nodes),
        timeline=tuple(_renamed(_median_run(read.runs), found.names)),
    )
    runtime["providers"] = report.providers
    return report


def _run_us(durations: Sequence[float]) -> dict[str, float | None]:
    if not durations:
        return {"median": None, "min": None, "p90": None}
    ordered = sorted(durations)
    place = 0.9 * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    p90 = ordered[low] + (ordered[high] - ordered[low]) * (place - low)
    return {"median": whole(statistics.median(ordered)), "min": whole(ordered[0]), "p90": whole(p90)}


def _around(runs: Sequence[Run]) -> dict[str, Slice | None]:
    """By name, the node in whose body a node runs; None where that is not always the same one."""
    found: dict[str, Slice | None] = {}
    for each in (each for run in runs for each in run.slices):
        held = found.setdefault(each.name, each.parent)
        if held is not each.parent and (held is None or each.parent is None or held.name != each.parent.name):
            found[each.name] = None
    return found


def _node(each: Timing, names: Names, around: Mapping[str, Slice | None]) -> NodeTime:
    """A node that is not known is of the module whose body it runs in: SequenceMap becomes a Loop of unnamed nodes."""
    named: Named | None = names.lookup(each.name, each.op_type)
    key = readable(each.name) if named is None else readable(named.key)
    us = whole(each.us)
    told = None if named is None else named.attribution
    if told is not None:
        return NodeTime(key, shown(each.op_type), told.path, us, each.provider, str(told.source), told.confidence)
    parent, depth = around.get(each.name), 0
    while parent is not None and depth < _DEEPEST:
        named = names.lookup(parent.name, parent.op_type)
        if named is not None and named.attribution is not None:
            path, share = named.attribution.path, named.attribution.confidence
            return NodeTime(key, shown(each.op_type), path, us, each.provider, str(Source.INHERITED), share)
        parent, depth = around.get(parent.name), depth + 1
    return NodeTime(key, shown(each.op_type), None, us, each.provider, None, None)


def _rows(model: Model, nodes: Sequence[NodeTime], modules: Sequence[Any]) -> list[ModuleRow]:
    providers = dict.fromkeys(f"us:{node.provider}" for node in nodes)
    numbers = ModuleNumbers(("us", "nodes", *providers))
    for node in nodes:
        numbers.add(node.path or "", **{"us": node.us, "nodes": node.path is not None, f"us:{node.provider}": node.us})
    table = ModuleTable(model.modules)
    for module in modules:
        if module.path not in table:
            table.add(module)
    return numbers.rows(table, first_nodes(model.nodes()))


def _median_run(runs: Sequence[Run]) -> Run:
    """The run whose time is the (lower) median."""
    ordered = sorted(runs, key=lambda run: run.duration if run.duration is not None else sum(s.own for s in run.slices))
    return ordered[(len(ordered) - 1) // 2]


def _renamed(run: Run, names: Names) -> Iterator[Slice]:
    """The run with nodes called by their keys."""
    for each in run.slices:
        named = names.lookup(each.name, each.op_type)
        each.name = readable(each.name if named is None else named.key)
        yield each


def _of_engine(model: Model, data: list[Any], layer_info: Path | None, label: str) -> ProfileReport:
    info = None if layer_info is None else engine_events.read_layer_info(layer_info)
    found = engine_events.engine_profile(data, {} if info is None else info.types, label)
    members = engine_events.LayerNodes(model, info)
    nodes: list[NodeTime] = []
    start = 0.0
    timeline: list[Slice] = []
    for layer in found.layers:
        held = [node.attribution for node in members.of(layer.name) if node.attribution is not None]
        us, key = whole(layer.us), readable(layer.name)
        timeline.append(Slice(key, layer.op_type, layer.provider, start, layer.us, layer.us))
        start += layer.us
        if not held:
            nodes.append(NodeTime(key, layer.op_type, None, us, layer.provider, None, None))
            continue
        weakest = min(held, key=lambda each: each.confidence)
        path = _in_common(model, {each.path for each in held})
        nodes.append(NodeTime(key, layer.op_type, path, us, layer.provider, str(weakest.source), weakest.confidence))
    return ProfileReport(
        model_path=str(model.path or ""),
        source="tensorrt",
        runtime={"version": None, "optimization": None, "providers": [engine_events.PROVIDER], "threads": None},
        runs=found.runs,
        warmup=None,
        run_us=_run_us([]),
        warnings=(),
        modules=tuple(_rows(model, nodes, ())),
        nodes=tuple(nodes),
        timeline=tuple(timeline),
    )


def _in_common(model: Model, paths: set[str]) -> str:
    """The deepest module that is around all paths: a called one, where the model says which are called."""
    if len(paths) == 1:
        return next(iter(paths))
    declared = any(module.cls for module in model.modules)
    return model.modules.common(paths) if declared else common_path(paths)
