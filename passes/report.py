"""What a tagged model looks like in numbers: counts by source, tag, module and operator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from modelexport.ir.attribution import Source
from modelexport.ir.model import Model
from modelexport.ir.modules import ModuleTable
from modelexport.ir.node import Node
from modelexport.ir.text import shown


def model_summary(model: Model, label: str | None = None, *, nodes: Iterable[Node] | None = None) -> dict[str, Any]:
    """Counts of a model's attributions, over the nodes of every scope.

    Args:
        label: the ``model_path`` to report; the model's own path unless given.
        nodes: those to count; every node of every scope unless given.

    Returns:
        ``{model_path, total_operations, tagged_operations, unique_tags, by_source: {source: n},
        tag_statistics: {tag: n}, modules: [{path, class, tag, parent, calls, nodes, total_nodes}],
        operations: {op_type: n}}``. ``nodes`` are a module's own, ``total_nodes`` include those of the modules in it;
        modules stand in the order of :func:`module_order`.
    """
    paths: Counter[str] = Counter()
    sources: Counter[Source] = Counter()
    operators: Counter[str] = Counter()
    counted = list(model.nodes() if nodes is None else nodes)
    total = len(counted)
    for node in counted:
        operators[node.op_type] += 1
        attribution = node.attribution
        if attribution is not None:
            paths[attribution.path] += 1
            sources[attribution.source] += 1
    table = ModuleTable(model.modules)
    for path in paths:
        table.ensure(path)
    tags = table.tags()
    return {
        "model_path": label if label is not None else str(model.path or ""),
        "total_operations": total,
        "tagged_operations": paths.total(),
        "unique_tags": len(paths),
        "by_source": {str(source): sources[source] for source in Source if sources[source]},
        "tag_statistics": {shown(tags[path]): count for path, count in paths.items()},
        "modules": _modules(table, tags, paths, first_nodes(counted)),
        "operations": {shown(op_type): count for op_type, count in operators.most_common()},
    }


def sources_line(model: Model) -> str:
    """Coverage in one line: ``120 nodes: 98 scope, 20 inherited, 2 fallback``."""
    counts: Counter[Source | None] = Counter()
    for node in model.nodes():
        attribution = node.attribution
        counts[None if attribution is None else attribution.source] += 1
    parts = [f"{counts[source]} {source}" for source in Source if counts[source]]
    if parts and counts[None]:
        parts.append(f"{counts[None]} without tag")
    total = f"{counts.total()} node{'' if counts.total() == 1 else 's'}"
    return f"{total}: {', '.join(parts)}" if parts else total


def _modules(
    table: ModuleTable, tags: Mapping[str, str], paths: Counter[str], first: Mapping[str, int]
) -> list[dict[str, Any]]:
    totals: Counter[str] = Counter()
    for path, count in paths.items():
        current: str | None = path
        while current is not None:
            totals[current] += count
            current = table.parent(current)
    rows: list[dict[str, Any]] = []
    for path in module_order(table, first):
        module = table[path]
        rows.append(
            {
                "path": shown(path),
                "class": shown(module.cls),
                "tag": shown(tags[path]),
                "parent": None if (parent := table.parent(path)) is None else shown(parent),
                "calls": module.calls,
                "nodes": paths[path],
                "total_nodes": totals[path],
            }
        )
    return rows


def first_nodes(nodes: Iterable[Node]) -> dict[str, int]:
    """By module path, the position among ``nodes`` of the first one that is the module's own."""
    first: dict[str, int] = {}
    for position, node in enumerate(nodes):
        attribution = node.attribution
        if attribution is not None and attribution.path not in first:
            first[attribution.path] = position
    return first


def module_order(table: ModuleTable, first: Mapping[str, int]) -> list[str]:
    """Paths of all modules in the order in which every report and picture has them.

    A module comes before those in it. Modules with one parent stand in the order of their first nodes in the file, the
    nodes of all paths below them included; one without any node stays behind the one that the table has before it.

    Args:
        table: the modules; paths of ``first`` that it lacks are left out.
        first: position of the first own node by path, as :func:`first_nodes` gives it.
    """
    starts: dict[str, int] = {}
    for path, position in first.items():
        while starts.get(path, position + 1) > position:
            starts[path] = position
            path = path.rpartition(".")[0]
    children: dict[str | None, list[str]] = {}
    for module in table:
        children.setdefault(table.parent(module.path), []).append(module.path)
    for siblings in children.values():
        places: dict[str, int] = {}
        place = -1
        for path in siblings:
            place = places[path] = starts.get(path, place)
        siblings.sort(key=places.__getitem__)
    stack = (children.get(None, []) or children.pop("", []))[::-1]
    order: list[str] = []
    while stack:
        path = stack.pop()
        order.append(path)
        stack.extend(children.get(path, ())[::-1])
    return order


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


def note_text(value: object) -> str:
    """A note of a pass for people: a mapping as ``name 3, other 1``, nothing for an empty one."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)


def label(node: Node) -> str:
    """A node's name, else its first output, for people."""
    return shown(node.name or node.first_output) or f"#{node.id}"
