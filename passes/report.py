"""What a tagged model looks like in numbers: counts by source, tag, module and operator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from modelexport.ir.attribution import Attribution, Source
from modelexport.ir.io.embedded_tags import Record
from modelexport.ir.model import Model
from modelexport.ir.modules import ModuleTable
from modelexport.ir.modules.levels import add_levels
from modelexport.ir.modules.order import first_nodes, module_order
from modelexport.ir.node import Node
from modelexport.ir.text import shown

Origin = tuple[Attribution | Record | None, int]  # and of how many nodes it is
SURE, LIKELY = 0.9, 0.5  # from which confidence on a tag is sure, and no longer a guess
NOTHING = (
    "nothing in this file names a module: no tags, no metadata of an exporter, no scopes in node or value names and no "
    "names of weights were found; an export by modelexport, --trace of the model or --reference to a tagged file would"
    " help"
)


def model_summary(model: Model, label: str | None = None, *, nodes: Iterable[Node] | None = None) -> dict[str, Any]:
    """Counts of a model's attributions, over the nodes of every scope.

    Args:
        label: the ``model_path`` to report; the model's own path unless given.
        nodes: those to count; every node of every scope unless given.

    Returns:
        ``{model_path, total_operations, tagged_operations, unique_tags, by_source: {source: n},
        confidence: {mean, sure, likely, guess}, tag_statistics: {tag: n}, operations: {op_type: n},
        modules: [{path, class, tag, parent, calls, nodes, total_nodes, share, confidence}]}``.
        ``nodes`` are a module's own, ``total_nodes`` include those of the modules in it, ``share`` is their part of all
        tagged nodes and ``confidence`` their mean, null without any; modules stand in the order of
        :func:`module_order`. Tags are sure from a confidence of 0.9 on, a guess below 0.5.
    """
    paths: Counter[str] = Counter()
    sources: Counter[Source] = Counter()
    operators: Counter[str] = Counter()
    sums: dict[str, float] = {}  # of confidences, by path
    counted = list(model.nodes() if nodes is None else nodes)
    total = len(counted)
    for node in counted:
        operators[node.op_type] += 1
        attribution = node.attribution
        if attribution is not None:
            path = attribution.path
            paths[path] += 1
            sources[attribution.source] += 1
            sums[path] = sums.get(path, 0.0) + attribution.confidence
    table = ModuleTable(model.modules)
    for path in paths:
        table.ensure(path)
    add_levels(table, paths)
    tags = table.tags()
    return {
        "model_path": label if label is not None else str(model.path or ""),
        "total_operations": total,
        "tagged_operations": paths.total(),
        "unique_tags": len(paths),
        "by_source": {str(source): sources[source] for source in Source if sources[source]},
        "confidence": confidences(counted),
        "tag_statistics": {shown(tags[path]): count for path, count in paths.items()},
        "modules": _modules(table, tags, paths, sums, first_nodes(counted)),
        "operations": {shown(op_type): count for op_type, count in operators.most_common()},
    }


def sources_line(model: Model, written: Mapping[Node, Record] | None = None) -> str:
    """Coverage in one line: ``120 nodes: 98 scope, 20 inherited, 2 fallback``.

    Args:
        written: the tags to count, as :func:`modelexport.ir.io.merged_tags.tags_in_file` gives those of a file; the
            attributions in memory unless given.
    """
    origins = _origins(model.nodes(), written)
    counts: Counter[Source | None] = Counter()
    for origin, times in origins:
        counts[None if origin is None else origin.source] += times
    if written is not None and not written:
        return f"{counts.total()} node{'' if counts.total() == 1 else 's'}, 0 tags written"
    parts = [f"{counts[source]} {source}" for source in Source if counts[source]]
    if parts and counts[None]:
        parts.append(f"{counts[None]} without tag")
    total = f"{counts.total()} node{'' if counts.total() == 1 else 's'}"
    if not parts:
        return total
    return f"{total}: {', '.join(parts)}; {confidence_text(_confidences(origins))}"


def confidences(nodes: Iterable[Node], written: Mapping[Node, Record] | None = None) -> dict[str, Any]:
    """``{mean, sure, likely, guess}`` of the tagged ones of ``nodes``: a mean, null without any, and three counts."""
    return _confidences(_origins(nodes, written))


def _confidences(origins: Iterable[Origin]) -> dict[str, Any]:
    shares: Counter[float] = Counter()
    for origin, times in origins:
        if origin is not None:
            shares[origin.confidence] += times
    counts = dict.fromkeys(("sure", "likely", "guess"), 0)
    total = 0.0
    for confidence, times in shares.items():
        share = round(confidence, 2)  # as it is written
        total += share * times
        counts["sure" if share >= SURE else "likely" if share >= LIKELY else "guess"] += times
    number = sum(counts.values())
    return {"mean": round(total / number, 4) if number else None, **counts}


def _origins(nodes: Iterable[Node], written: Mapping[Node, Record] | None) -> list[Origin]:
    """What tells the modules of ``nodes``, each once, and how many it is of; None of those without a tag."""
    found = [node.attribution if written is None else written.get(node) for node in nodes]
    times = Counter(map(id, found))
    return [(origin, times[id(origin)]) for origin in dict(zip(map(id, found), found, strict=True)).values()]


def confidence_text(found: Mapping[str, Any]) -> str:
    """``98 sure, 20 likely, 2 guess``."""
    return ", ".join(f"{found[name]} {name}" for name in ("sure", "likely", "guess"))


def says_nothing(model: Model) -> bool:
    """Whether nothing in the file names a module: all tags are fallback, or rest on nothing else."""
    found = False
    for node in model.nodes():
        attribution = node.attribution
        if attribution is not None:
            found = True
            if attribution.source not in (Source.FALLBACK, Source.INHERITED):
                return False
    return found


def unwritten(model: Model, written: Mapping[Node, Record]) -> int:
    """How many nodes have another module in memory than in the file, or none there."""
    count = 0
    for node in model.nodes():
        attribution, record = node.attribution, written.get(node)
        count += attribution is not None and (record is None or record.path != attribution.path)
    return count


def _modules(
    table: ModuleTable,
    tags: Mapping[str, str],
    paths: Counter[str],
    sums: Mapping[str, float],
    first: Mapping[str, int],
) -> list[dict[str, Any]]:
    order = module_order(table, first)
    parents = {path: table.parent(path) for path in order}
    totals: Counter[str] = Counter(paths)
    sure = dict(sums)
    for path in reversed(order):  # what is in a module comes behind it
        above = parents[path]
        if above is not None and path in sure:
            totals[above] += totals[path]
            sure[above] = sure.get(above, 0.0) + sure[path]
    rows: list[dict[str, Any]] = []
    tagged = paths.total()
    for path in order:
        module, parent = table[path], parents[path]
        rows.append(
            {
                "path": shown(path),
                "class": shown(module.cls),
                "tag": shown(tags[path]),
                "parent": None if parent is None else shown(parent),
                "calls": module.calls,
                "nodes": paths[path],
                "total_nodes": totals[path],
                "share": round(totals[path] / tagged, 4) if tagged else 0.0,
                "confidence": round(sure[path] / totals[path], 4) if totals[path] else None,
            }
        )
    return rows


def explanation(model: Model, pass_name: str) -> list[dict[str, Any]]:
    """Every decision that one pass took: ``{node, op_type, graph, path, source, rule, confidence, evidence, replaced,
    final}``. ``replaced`` is the attribution that stood there, ``final`` whether no later pass changed it."""
    rows: list[dict[str, Any]] = []
    for node in model.nodes():
        history = node.history
        for index, attribution in enumerate(history):
            if attribution.by != pass_name:
                continue
            before = history[index - 1] if index else None
            rows.append(
                {
                    "node": label(node),
                    "op_type": shown(node.op_type),
                    "graph": shown(node.graph.scope),
                    "path": shown(attribution.path),
                    "source": str(attribution.source),
                    "rule": attribution.rule,
                    "confidence": round(attribution.confidence, 2),
                    "evidence": [shown(each) for each in attribution.evidence],
                    "replaced": None if before is None else f"{shown(before.path)} ({before.source}/{before.rule})",
                    "final": index == len(history) - 1,
                }
            )
    return rows


def label(node: Node) -> str:
    """A node's name, else its first output, for people."""
    return shown(node.name or node.first_output) or f"#{node.id}"
