"""The documented result, counted in the files that were saved."""

from __future__ import annotations

import json
import mmap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from modelexport.ir.attribution import Source
from modelexport.ir.io.embedded_tags import SOURCE, TAG, tag_in_doc
from modelexport.ir.operators import role
from modelexport.ir.proto.fields import fields
from modelexport.ir.proto.wire import delimited
from modelexport.ir.text import text

if TYPE_CHECKING:
    from modelexport.frontend.settings import Settings
    from modelexport.frontend.trace.seen import Seen

_GRAPH = onnx.ModelProto.DESCRIPTOR.fields_by_name["graph"].number
_WEIGHTS = frozenset(
    onnx.GraphProto.DESCRIPTOR.fields_by_name[name].number for name in ("initializer", "sparse_initializer")
)


@dataclass(frozen=True, slots=True)
class Measurements:
    """What was measured. ``passes`` are seconds by pass name, ``reading`` is the time to build the graph context."""

    enabled: bool
    seconds: float
    reading: float
    passes: Mapping[str, float]
    peak_mb: int


@dataclass(slots=True)
class Saved:
    """Counts over the nodes of a saved file, at every depth."""

    total: int = 0
    tagged: int = 0
    by_source: Counter[str] = field(default_factory=Counter)
    auxiliary: Counter[str] = field(default_factory=Counter)  # by operator type
    auxiliary_tagged: int = 0
    auxiliary_by_source: Counter[str] = field(default_factory=Counter)

    def add(self, op_type: str, domain: str, tagged: bool, source: str) -> None:
        """Count one node."""
        self.total += 1
        self.tagged += tagged
        if tagged:
            self.by_source[source] += 1
        if role(op_type, domain) == "auxiliary":
            self.auxiliary[op_type] += 1
            self.auxiliary_tagged += tagged
            if tagged:
                self.auxiliary_by_source[source] += 1


def read_saved(model_file: Path, sidecar: Path | None = None) -> Saved:
    """Read the files again and count. Tags are looked for in the sidecar when one is given, else in the model."""
    saved = Saved()
    proto = without_weights(model_file)
    if sidecar is not None:
        with sidecar.open(encoding="utf-8") as stream:
            for entry in json.load(stream)["node_tags"].values():
                saved.add(entry["op_type"], "", bool(entry["tags"]), entry["source"])
        return saved
    for node in nodes_of(proto):
        entries = {entry.key: entry.value for entry in node.metadata_props}
        if TAG not in entries:
            entries.update(tag_in_doc(text(node.doc_string)) or {})
        saved.add(node.op_type, node.domain, TAG in entries, entries.get(SOURCE, ""))
    return saved


def nodes_of(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Nodes of the main graph, of bodies and of local functions."""
    waiting: list[Any] = [*proto.functions, proto.graph]
    while waiting:
        for node in waiting.pop().node:
            yield node
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    waiting.append(attribute.g)
                waiting.extend(attribute.graphs)


def without_weights(path: Path) -> onnx.ModelProto:
    """A model as it is in the file, without its main graph's initializers, whose bytes are not touched."""
    proto = onnx.ModelProto()
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for number, begin, start, end in fields(data, 0, len(data)):
            if number != _GRAPH:
                proto.MergeFromString(data[begin:end])
                continue
            kept = [data[b:e] for n, b, _, e in fields(data, start, end) if n not in _WEIGHTS]
            proto.MergeFromString(delimited(_GRAPH, b"".join(kept)))
    return proto


def build_result(
    settings: Settings,
    target: Path,
    files: Mapping[str, Path],
    exporter: str,
    opset_version: int,
    trace: Seen,
    saved: Saved,
    warnings: Sequence[str],
    measured: Measurements,
) -> dict[str, Any]:
    """The dictionary that ``HierarchyExporter.export`` returns."""
    order = {str(source): position for position, source in enumerate(Source)}
    result: dict[str, Any] = {
        "output_path": str(target),
        "onnx_path": str(target),
        "sidecar_path": str(files["sidecar"]) if "sidecar" in files else None,
        "strategy": settings.strategy,
        "exporter": exporter,
        "opset_version": opset_version,
        "total_operations": saved.total,
        "tagged_operations": saved.tagged,
        "by_source": dict(sorted(saved.by_source.items(), key=lambda item: order.get(item[0], len(order)))),
        "operation_trace_length": trace.operation_trace_length,
        "native_op_regions": trace.native_op_regions,
        "builtin_tracking_enabled": settings.evidence == "scope",
        "warnings": list(dict.fromkeys(warnings)),
    }
    if measured.enabled:
        result.update(_measured(saved, measured))
    return result


def _measured(saved: Saved, measured: Measurements) -> dict[str, Any]:
    inherited, fallback = saved.by_source[Source.INHERITED], saved.by_source[Source.FALLBACK]
    auxiliary = saved.auxiliary.total()
    return {
        "export_time": measured.seconds,
        "auxiliary_operations_coverage": saved.auxiliary_tagged / auxiliary if auxiliary else 1.0,
        "context_inheritance_success_rate": inherited / (inherited + fallback) if inherited + fallback else 1.0,
        "fallback_strategy_usage": fallback,
        "auxiliary_operations_analysis": {
            "total_auxiliary_ops": auxiliary,
            "tagged_auxiliary_ops": saved.auxiliary_tagged,
            "context_inherited": saved.auxiliary_by_source[Source.INHERITED],
            "fallback_tagged": saved.auxiliary_by_source[Source.FALLBACK],
            "operation_types": dict(saved.auxiliary.most_common()),
        },
        "performance_profile": {
            "graph_context_building_time": measured.reading + measured.passes.get("scope-attribution", 0.0),
            "context_inheritance_time": measured.passes.get("context-inheritance", 0.0),
            "fallback_strategy_time": measured.passes.get("fallback-tagging", 0.0),
            "memory_peak_usage": measured.peak_mb,
            "pass_times": dict(measured.passes),
        },
    }
