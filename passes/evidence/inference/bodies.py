"""What is inferred inside a body rests on where the body's owner is from."""

from __future__ import annotations

from dataclasses import replace

from modelexport.ir.attribution import Attribution, Source
from modelexport.ir.graph import Graph
from modelexport.ir.model import Model

_GUESSED = (Source.INHERITED, Source.FALLBACK)


def cap_bodies(model: Model, by: str) -> None:
    """Let no inferred tag in a body that ``by`` gave be surer than that of the node that owns the body."""
    lowered: dict[tuple[Attribution, float], Attribution] = {}
    for graph in model.graphs():
        owner = graph.owner.attribution if graph.owner is not None else None
        if owner is None:
            continue
        for node in graph.nodes:
            held = node.attribution
            if held is None or held.by != by or held.source not in _GUESSED or held.confidence <= owner.confidence:
                continue
            key = held, owner.confidence
            found = lowered.get(key)
            if found is None:
                found = lowered[key] = replace(held, confidence=owner.confidence)
            node.attribute_to(found)


def limit_in(graph: Graph) -> float:
    """The confidence of the node that a body belongs to: what inherits inside is never surer."""
    owner = graph.owner.attribution if graph.owner is not None else None
    return owner.confidence if owner is not None else 1.0
