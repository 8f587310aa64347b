"""Nodes with bodies that were found by what they make: a head's, where whole models were put into branches.

A decoder that is merged with its version for cached keys is an If whose output has the name of the decoder's. Its
bodies hold the head among all else, so the If can't be of the head.
"""

from __future__ import annotations

from collections.abc import Iterator

from modelexport.ir.attribution import Source
from modelexport.ir.model import Model
from modelexport.ir.node import Node
from modelexport.passes.pipeline.base import PassContext

RULE = "bodies"
_ON_RECORD = (Source.SCOPE, Source.REFERENCE, Source.PARAMETER)


def widen_owners(model: Model, ctx: PassContext, *rules: str) -> None:
    """Give each node with bodies that one of ``rules`` placed the module that has all nodes on record in its bodies."""
    for owner in _owners(model):
        held = owner.attribution
        if held is None or held.rule not in rules:
            continue
        paths = {held.path, *_inside(owner)}
        common = model.modules.common(paths)
        if common != held.path:
            ctx.attribute(owner, common, held.source, RULE, held.evidence)


def place_owners(model: Model, ctx: PassContext) -> None:
    """Give each node with bodies that nothing placed, which a tool put around them, the module that has all of them."""
    for owner in _owners(model):
        paths = set(_inside(owner)) if owner.attribution is None else None
        if paths:
            evidence = tuple(body.label for body in owner.bodies)
            ctx.attribute(owner, model.modules.common(paths), Source.REFERENCE, RULE, evidence)


def _owners(model: Model) -> list[Node]:
    return list(dict.fromkeys(graph.owner for graph in model.graphs() if graph.owner is not None))


def _inside(owner: Node) -> Iterator[str]:
    for body in owner.bodies:
        for node in body.nodes:
            if node.attribution is not None and node.attribution.source in _ON_RECORD:
                yield node.attribution.path
            yield from _inside(node)
