"""From the IR to step data: what a frontend hands to ``HTPExportMonitor.log_step`` as keywords."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from modelexport.frontend.monitor.data import ModuleInfo, NodeInfo, Tags
from modelexport.ir.attribution import Attribution
from modelexport.ir.identity.keys import node_keys
from modelexport.ir.model import Model
from modelexport.ir.modules import ModuleTable


def hierarchy_fields(
    modules: ModuleTable, *, calls: Sequence[str] | None = None, torch_nn: bool = True
) -> dict[str, Any]:
    """Fields of the HIERARCHY step. ``calls`` are the paths of the module calls in order; else the table's order."""
    tags = modules.tags(torch_nn)
    first: dict[str, int] = {}
    for position, path in enumerate(calls if calls is not None else [one.path for one in modules if one.calls]):
        first.setdefault(path, position)
    hierarchy = {
        module.path: ModuleInfo(
            module.path,
            module.class_name,
            tags[module.path],
            first.get(module.path, -1),
            module.parameters,
            module.calls,
        )
        for module in modules
    }
    return {
        "hierarchy": hierarchy,
        "execution_steps": len(calls) if calls is not None else sum(module.calls for module in modules),
        "total_modules": len(hierarchy),
    }


def tagging_fields(model: Model, *, torch_nn: bool = True) -> dict[str, Any]:
    """Fields of the NODE_TAGGING step, counted over every node at every depth. Equal records are one object."""
    tags = model.modules.tags(torch_nn)
    untagged = NodeInfo(tag=None, path=None, source=None, confidence=None)
    shared: dict[Attribution | None, NodeInfo] = {None: untagged}
    nodes: dict[str, NodeInfo] = {}
    sources: Counter[str] = Counter()
    for key, node in node_keys(model):
        attribution = node.attribution
        record = shared.get(attribution)
        if record is None and attribution is not None:
            path = attribution.path
            record = shared[attribution] = NodeInfo(
                tag=tags[path] if path in tags else model.modules.tag(path),
                path=path,
                source=attribution.source.value,
                confidence=round(attribution.confidence, 2),
            )
        if attribution is not None:
            sources[attribution.source.value] += 1
        nodes[key] = record or untagged
    tagged = sources.total()
    return {
        "nodes": nodes,
        "tagged_nodes": Tags(nodes),
        "tagging_stats": dict(sources),
        "total_nodes": len(nodes),
        "coverage": tagged / len(nodes) if nodes else 0.0,
    }
